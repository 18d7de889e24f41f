COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(encode(sha256(v.id::text::bytea), 'hex'), 1, 12) AS prefix
          FROM vessels v
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '87' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           o.prefix || '85' || substr(q, 1, 2) || '8' || substr(q, 3, 15),
           CASE d.document_type WHEN 'PHOTO' THEN 'image' ELSE lower(d.document_type::text) END,
           d.name,
           d.file_path,
           CASE WHEN d.file_size BETWEEN -2147483648 AND 2147483647 THEN d.file_size END,
           d.created_at,
           d.updated_at
      FROM documents d
      JOIN owners o ON o.id = d.vessel_id
     CROSS JOIN LATERAL encode(sha256(d.id::text::bytea), 'hex') h
     CROSS JOIN LATERAL encode(sha256(d.equipment_id::text::bytea), 'hex') q
) TO STDOUT
