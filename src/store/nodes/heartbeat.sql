-- Renews a node's lease. No row: it was declared dead. Contact that was broken for longer than the lease starts anew.
WITH parameter AS (
  SELECT $1::uuid AS node_id, $2::double precision AS lease_seconds, $3::text AS state,
         $4::double precision AS clock_offset_ms, $5::double precision AS clock_error_ms, $6::text[] AS stalled_loops
), renewed AS (
  UPDATE node n
     SET heartbeat_at = clock_timestamp(),
         lease_until = clock_timestamp() + make_interval(secs => p.lease_seconds),
         connected_since = CASE WHEN n.lease_until < clock_timestamp() THEN clock_timestamp() ELSE n.connected_since END,
         state = p.state,
         clock_offset_ms = p.clock_offset_ms,
         clock_error_ms = p.clock_error_ms,
         stalled_loops = p.stalled_loops
    FROM parameter p
   WHERE n.node_id = p.node_id AND n.state IN ('live', 'draining')
  RETURNING n.connected_since, n.node_id, n.data_directory_id, n.host
)
SELECT clock_timestamp() AS now, r.connected_since,
       least(r.connected_since, (SELECT min(n.connected_since) FROM node n
                                  WHERE n.kind = 'serve' AND n.state = 'live' AND n.lease_until > clock_timestamp()
                                    AND (n.node_id = r.node_id
                                         OR NOT (n.data_directory_id = r.data_directory_id AND n.host = r.host)))) AS attended_since,
       (SELECT count(*) FROM node n WHERE n.kind = 'serve' AND n.state = 'live' AND n.lease_until > clock_timestamp()) AS live_nodes
FROM renewed r;
