COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(o, 1, 12) AS prefix,
               substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15) AS vessel_id
          FROM vessels v, encode(sha256(v.id::text::bytea), 'hex') o
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.vessel_id,
           o.prefix || '87' || substr(h, 1, 2) || '8' || substr(h, 3, 15)
      FROM documents d
      JOIN owners o ON o.id = d.vessel_id
     CROSS JOIN LATERAL encode(sha256(d.id::text::bytea), 'hex') h
     WHERE d.equipment_id IS NULL
) TO STDOUT
