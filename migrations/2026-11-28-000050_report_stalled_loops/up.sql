-- Who may only read the reports sees too which nodes have loops that do not go round.
CREATE OR REPLACE VIEW dropcron_report.nodes AS
SELECT n.node_id, n.kind, n.host, n.pid, n.version, n.state,
       n.state IN ('live', 'draining') AND n.lease_until > now() AS is_alive, n.started_at, n.heartbeat_at, n.stopped_at,
       (SELECT count(*) FROM run_lease l WHERE l.node_id = n.node_id) AS active_runs, n.max_running, n.queues, n.tags,
       n.clock_offset_ms, n.stalled_loops
  FROM node n;
COMMENT ON COLUMN dropcron_report.nodes.stalled_loops IS 'Loops of it that have ended or hang, as of the last heartbeat; empty is healthy.';
