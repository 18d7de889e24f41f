-- The ends may lie on other vessels: their ids have those vessels' prefixes.
COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(o, 1, 12) AS prefix,
               substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15) AS vessel_id
          FROM vessels v, encode(sha256(v.id::text::bytea), 'hex') o
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '89' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           o.vessel_id,
           so.prefix || '85' || substr(sh, 1, 2) || '8' || substr(sh, 3, 15),
           go.prefix || '85' || substr(gh, 1, 2) || '8' || substr(gh, 3, 15),
           r.reference_type,
           r.notes,
           r.created_at,
           r.updated_at
      FROM cross_references r
      JOIN owners o ON o.id = r.vessel_id
      JOIN equipment s ON s.id = r.source_equipment_id
      JOIN owners so ON so.id = s.vessel_id
      JOIN equipment g ON g.id = r.target_equipment_id
      JOIN owners go ON go.id = g.vessel_id
     CROSS JOIN LATERAL encode(sha256(r.id::text::bytea), 'hex') h
     CROSS JOIN LATERAL encode(sha256(s.id::text::bytea), 'hex') sh
     CROSS JOIN LATERAL encode(sha256(g.id::text::bytea), 'hex') gh
) TO STDOUT
