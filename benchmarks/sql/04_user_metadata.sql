COPY (
    SELECT substr(o, 1, 12) || '82' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           role,
           CASE role WHEN 'HSE_OFFICER' THEN '{"hse_officer": true}'
                     WHEN 'VIEWER' THEN '{"limited_permissions": true}' ELSE '{}' END,
           phone,
           settings
      FROM users, encode(sha256(company_id::text::bytea), 'hex') o, encode(sha256(id::text::bytea), 'hex') h
) TO STDOUT
