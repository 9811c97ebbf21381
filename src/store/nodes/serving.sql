-- The service of a data directory: the newest of this host that has not left. Whole rows go through jsonb, since a table that
-- an older dropcron made and still serves may lack the column.
SELECT n.node_id, n.pid, n.version, n.state, n.started_at, n.heartbeat_at, n.lease_until > clock_timestamp() AS has_lease,
       extract(epoch FROM clock_timestamp() - n.heartbeat_at)::double precision AS heartbeat_age_seconds,
       ARRAY(SELECT jsonb_array_elements_text(coalesce(to_jsonb(n) -> 'stalled_loops', '[]'::jsonb))) AS stalled_loops
  FROM node n
 WHERE n.kind = 'serve' AND n.data_directory_id = $1 AND n.host = $2 AND n.state IN ('live', 'draining')
 ORDER BY n.started_at DESC LIMIT 1;
