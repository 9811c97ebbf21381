-- What is said of one run only: its arguments, its node, whether somebody has asked that it stop, and its task's name now.
SELECT r.args::text AS args, n.host, n.pid, l.cancel_requested_by, l.state AS lease_state, t.name AS task_now, t.script_path, r.is_pinned
  FROM run_log r
  LEFT JOIN node n USING (node_id)
  LEFT JOIN run_lease l USING (run_id)
  LEFT JOIN task t ON t.task_id = r.task_id
 WHERE r.run_id = $1;
