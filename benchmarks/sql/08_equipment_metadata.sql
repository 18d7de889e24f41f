COPY (
    WITH owners AS MATERIALIZED (
        SELECT v.id, substr(encode(sha256(v.id::text::bytea), 'hex'), 1, 12) AS prefix
          FROM vessels v
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '85' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           e.id,
           e.code,
           e.status,
           e.location_id,
           e.criticality,
           e.classification,
           e.quality_score,
           e.maintenance_interval_days,
           e.warranty_expiry,
           e.notes,
           json_build_object('last_verified_at', e.last_verified_at,
                             'next_verification_date', e.next_verification_date,
                             'verified_by', e.verified_by),
           e.metadata
      FROM equipment e
      JOIN owners o ON o.id = e.vessel_id
     CROSS JOIN LATERAL encode(sha256(e.id::text::bytea), 'hex') h
) TO STDOUT
