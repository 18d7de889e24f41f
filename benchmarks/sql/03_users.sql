COPY (
    SELECT substr(o, 1, 12) || '82' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           substr(o, 1, 12) || '81' || substr(o, 1, 2) || '8' || substr(o, 3, 15),
           email,
           password_hash,
           first_name,
           last_name,
           CASE role WHEN 'SUPER_ADMIN' THEN 'admin' WHEN 'ADMIN' THEN 'admin' WHEN 'MANAGER' THEN 'manager'
                     ELSE 'technician' END,
           avatar_url,
           is_active,
           created_at,
           updated_at
      FROM users, encode(sha256(company_id::text::bytea), 'hex') o, encode(sha256(id::text::bytea), 'hex') h
) TO STDOUT
