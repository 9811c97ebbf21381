DROP VIEW dropcron_report.nodes;
CREATE VIEW dropcron_report.nodes AS
SELECT n.node_id, n.kind, n.host, n.pid, n.version, n.state,
       n.state IN ('live', 'draining') AND n.lease_until > now() AS is_alive, n.started_at, n.heartbeat_at, n.stopped_at,
       (SELECT count(*) FROM run_lease l WHERE l.node_id = n.node_id) AS active_runs, n.max_running, n.queues, n.tags,
       n.clock_offset_ms
  FROM node n;
COMMENT ON VIEW dropcron_report.nodes IS 'A row for each process of dropcron that runs scripts: a restart is a new node.';
COMMENT ON COLUMN dropcron_report.nodes.node_id IS 'Made at process start.';
COMMENT ON COLUMN dropcron_report.nodes.kind IS 'serve: the service. command: one dropcron run in somebody''s terminal.';
COMMENT ON COLUMN dropcron_report.nodes.host IS 'Host name.';
COMMENT ON COLUMN dropcron_report.nodes.pid IS 'Process id on that host.';
COMMENT ON COLUMN dropcron_report.nodes.version IS 'Version of dropcron.';
COMMENT ON COLUMN dropcron_report.nodes.state IS 'live; draining: finishes, takes nothing new; stopped: left in order; dead: its lease ended.';
COMMENT ON COLUMN dropcron_report.nodes.is_alive IS 'Whether its lease holds now.';
COMMENT ON COLUMN dropcron_report.nodes.started_at IS 'Start of the process.';
COMMENT ON COLUMN dropcron_report.nodes.heartbeat_at IS 'Last heartbeat, by the database''s clock.';
COMMENT ON COLUMN dropcron_report.nodes.stopped_at IS 'When it stopped or was found dead.';
COMMENT ON COLUMN dropcron_report.nodes.active_runs IS 'Runs that it holds now.';
COMMENT ON COLUMN dropcron_report.nodes.max_running IS 'How many scripts it runs at once.';
COMMENT ON COLUMN dropcron_report.nodes.queues IS 'Queues it serves.';
COMMENT ON COLUMN dropcron_report.nodes.tags IS 'Tags it offers.';
COMMENT ON COLUMN dropcron_report.nodes.clock_offset_ms IS 'Database clock less its wall clock, milliseconds.';
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'dropcron_reader') THEN
    GRANT SELECT ON dropcron_report.nodes TO dropcron_reader;
  END IF;
END $$;
