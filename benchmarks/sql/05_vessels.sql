COPY (
    SELECT substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15),
           substr(c, 1, 12) || '81' || substr(c, 1, 2) || '8' || substr(c, 3, 15),
           name,
           imo_number,
           vessel_type,
           coalesce(nullif(metadata ->> 'image_url', ''), '/assets/vessels/default.svg'),
           CASE onboarding_status WHEN 'APPROVED' THEN 'operational' WHEN 'REJECTED' THEN 'inactive'
                                  ELSE 'onboarding' END,
           created_at,
           updated_at
      FROM vessels, encode(sha256(id::text::bytea), 'hex') o, encode(sha256(company_id::text::bytea), 'hex') c
     WHERE onboarding_status = 'APPROVED'
) TO STDOUT
