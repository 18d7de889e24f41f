COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(o, 1, 12) AS prefix,
               substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15) AS vessel_id
          FROM vessels v, encode(sha256(v.id::text::bytea), 'hex') o
         WHERE v.onboarding_status = 'APPROVED'
    ), assessors AS MATERIALIZED (
        SELECT u.id, substr(o, 1, 12) || '82' || substr(h, 1, 2) || '8' || substr(h, 3, 15) AS user_id
          FROM users u, encode(sha256(u.company_id::text::bytea), 'hex') o,
               encode(sha256(u.id::text::bytea), 'hex') h
    )
    SELECT o.prefix || '88' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           o.vessel_id,
           o.prefix || '85' || substr(q, 1, 2) || '8' || substr(q, 3, 15),
           s.category,
           s.score,
           s.assessed_at,
           a.user_id,
           s.created_at,
           s.updated_at
      FROM quality_scores s
      JOIN owners o ON o.id = s.vessel_id
      LEFT JOIN assessors a ON a.id = s.assessed_by
     CROSS JOIN LATERAL encode(sha256(s.id::text::bytea), 'hex') h
     CROSS JOIN LATERAL encode(sha256(s.equipment_id::text::bytea), 'hex') q
) TO STDOUT
