-- Services around some instants: those that were there, the last one before, and the first one after. A node that died was
-- there until its last heartbeat.
WITH asked AS (
  SELECT DISTINCT i.at FROM unnest($1::timestamptz[]) AS i(at)
), service AS MATERIALIZED (
  SELECT format('%s (pid %s)', host, pid) AS node, started_at, connected_since,
         CASE WHEN state IN ('live', 'draining') AND lease_until > clock_timestamp() THEN NULL
              WHEN state = 'stopped' THEN stopped_at ELSE heartbeat_at END AS seen_until
    FROM node WHERE kind = 'serve'
)
SELECT 'there' AS part, a.at, s.* FROM asked a CROSS JOIN LATERAL (
  SELECT * FROM service s WHERE s.started_at <= a.at AND (s.seen_until IS NULL OR s.seen_until > a.at)
   ORDER BY s.started_at LIMIT 10) s
UNION ALL
SELECT 'before', a.at, s.* FROM asked a CROSS JOIN LATERAL (
  SELECT * FROM service s WHERE s.seen_until <= a.at ORDER BY s.seen_until DESC LIMIT 1) s
UNION ALL
SELECT 'after', a.at, s.* FROM asked a CROSS JOIN LATERAL (
  SELECT * FROM service s WHERE s.started_at > a.at ORDER BY s.started_at LIMIT 1) s;
