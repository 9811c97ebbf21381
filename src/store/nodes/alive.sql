-- The services that are alive.
SELECT count(*) AS nodes, coalesce(array_agg(DISTINCT version ORDER BY version), '{}') AS versions
  FROM node WHERE kind = 'serve' AND state IN ('live', 'draining') AND lease_until > clock_timestamp();
