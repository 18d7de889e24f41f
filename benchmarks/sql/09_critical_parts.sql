COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(encode(sha256(v.id::text::bytea), 'hex'), 1, 12) AS prefix
          FROM vessels v
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '86' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           o.prefix || '85' || substr(q, 1, 2) || '8' || substr(q, 3, 15),
           left(p.part_number, 100),
           p.name,
           coalesce(p.criticality = 'CRITICAL', false),
           p.current_stock,
           p.minimum_stock,
           p.created_at,
           p.updated_at
      FROM critical_parts p
      JOIN equipment e ON e.id = p.equipment_id
      JOIN owners o ON o.id = e.vessel_id
     CROSS JOIN LATERAL encode(sha256(p.id::text::bytea), 'hex') h
     CROSS JOIN LATERAL encode(sha256(e.id::text::bytea), 'hex') q
) TO STDOUT
