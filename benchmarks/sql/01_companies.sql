-- A slug is the code in lower case; in a clean fleet no two are the same.
COPY (
    SELECT substr(h, 1, 12) || '81' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           name,
           left(regexp_replace(lower(code), '[^a-z0-9]', '-', 'g'), 50),
           coalesce(nullif(settings #>> '{branding,logo}', ''), '/assets/logos/default.svg'),
           coalesce(nullif(settings #>> '{branding,primaryColor}', ''), '#0066CC'),
           coalesce(nullif(settings #>> '{branding,secondaryColor}', ''), '#E6F2FF'),
           created_at,
           updated_at
      FROM companies, encode(sha256(id::text::bytea), 'hex') h
) TO STDOUT
