COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(encode(sha256(v.id::text::bytea), 'hex'), 1, 12) AS prefix
          FROM vessels v
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '87' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           d.document_type,
           d.mime_type
      FROM documents d
      JOIN owners o ON o.id = d.vessel_id
     CROSS JOIN LATERAL encode(sha256(d.id::text::bytea), 'hex') h
) TO STDOUT
