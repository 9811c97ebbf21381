-- Services that are there, and those that were, the newest first.
SELECT node_id, host, pid, version, python, state, queues, tags, max_running, started_at, connected_since, heartbeat_at, lease_until,
       stopped_at, clock_offset_ms, clock_error_ms,
       (SELECT count(*) FROM run_lease l WHERE l.node_id = n.node_id AND l.state = 'running') AS running
  FROM node n WHERE kind = 'serve' ORDER BY state IN ('live', 'draining') DESC, started_at DESC LIMIT $1::bigint;
