COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(encode(sha256(v.id::text::bytea), 'hex'), 1, 12) AS prefix
          FROM vessels v
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '86' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           p.manufacturer,
           p.quantity,
           p.criticality,
           p.part_number
      FROM critical_parts p
      JOIN equipment e ON e.id = p.equipment_id
      JOIN owners o ON o.id = e.vessel_id
     CROSS JOIN LATERAL encode(sha256(p.id::text::bytea), 'hex') h
) TO STDOUT
