-- Location paths from the roots down, next maintenance dates, columns merged into the specifications.
COPY (
    WITH RECURSIVE paths AS (
        SELECT id, name::text AS path FROM locations WHERE parent_id IS NULL
        UNION ALL
        SELECT l.id, p.path || ' > ' || l.name FROM paths p JOIN locations l ON l.parent_id = p.id
    ), owners AS MATERIALIZED (
        SELECT v.id, substr(o, 1, 12) AS prefix,
               substr(o, 1, 12) || '83' || substr(o, 1, 2) || '8' || substr(o, 3, 15) AS vessel_id
          FROM vessels v, encode(sha256(v.id::text::bytea), 'hex') o
         WHERE v.onboarding_status = 'APPROVED'
    )
    SELECT o.prefix || '85' || substr(h, 1, 2) || '8' || substr(h, 3, 15),
           o.vessel_id,
           coalesce(nullif(e.code, ''), 'EQ') || '-' || substr(h, 1, 6),
           e.name,
           e.manufacturer,
           e.model,
           e.serial_number,
           p.path,
           e.equipment_type,
           CASE e.status WHEN 'DRAFT' THEN 'maintenance' WHEN 'REMOVED' THEN 'decommissioned'
                         WHEN 'DELETED' THEN 'decommissioned' ELSE 'operational' END,
           e.installation_date,
           last,
           CASE WHEN e.maintenance_interval_days > 0
                THEN coalesce(last, e.installation_date) + e.maintenance_interval_days END,
           jsonb_strip_nulls(jsonb_build_object('criticality', e.criticality, 'classification', e.classification,
                             'maintenance_interval_days', e.maintenance_interval_days))
               || CASE WHEN e.specifications IS NULL THEN '{}'
                       WHEN json_typeof(e.specifications) = 'object' THEN e.specifications::jsonb
                       ELSE jsonb_build_object('value', e.specifications) END,
           e.created_at,
           e.updated_at
      FROM equipment e
      JOIN owners o ON o.id = e.vessel_id
      LEFT JOIN paths p ON p.id = e.location_id
     CROSS JOIN LATERAL encode(sha256(e.id::text::bytea), 'hex') h
     CROSS JOIN LATERAL CAST(left(e.metadata ->> 'last_maintenance_date', 10) AS date) last
) TO STDOUT
