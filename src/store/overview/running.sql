-- Runs in flight, the oldest first; trials are left out.
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, NULL::integer AS return_value_bytes
  FROM run_lease l JOIN run_log r USING (task_id, scheduled_for, attempt)
 WHERE r.task_name NOT LIKE '/trial/%' AND l.state IN ('running', 'queued') AND l.due_at <= clock_timestamp()
 ORDER BY l.state DESC, l.due_at, l.run_id LIMIT $1::bigint;
