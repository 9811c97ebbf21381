-- Runs since a time that ended in one of some ways, newest first; trials are left out.
WITH parameter AS NOT MATERIALIZED (SELECT $1::timestamptz AS since, $2::text[] AS statuses, $3::bigint AS row_limit)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, NULL::integer AS return_value_bytes
  FROM parameter p, run_log r
 WHERE r.scheduled_for >= p.since AND r.status = ANY (p.statuses) AND r.task_name NOT LIKE '/trial/%'
 ORDER BY r.scheduled_for DESC, r.run_id DESC LIMIT (SELECT row_limit FROM parameter);
