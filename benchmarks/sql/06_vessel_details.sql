COPY (
    SELECT substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15),
           flag,
           gross_tonnage,
           year_built,
           class_society,
           onboarding_status,
           metadata
      FROM vessels, encode(sha256(id::text::bytea), 'hex') o
     WHERE onboarding_status = 'APPROVED'
) TO STDOUT
