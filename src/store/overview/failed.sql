-- Tasks that failed since a time, those that failed last first: the newest failure of each, and how many there were; trials are left out.
-- Only keys are grouped: rows are wide.
WITH parameter AS NOT MATERIALIZED (SELECT $1::timestamptz AS since, $2::text[] AS reasons, $3::bigint AS row_limit),
failed AS (
  SELECT DISTINCT ON (r.task_id) r.task_id, r.scheduled_for, r.attempt, r.run_id, count(*) OVER (PARTITION BY r.task_id) AS failures
    FROM parameter p, run_log r
   WHERE r.reason = ANY (p.reasons) AND r.scheduled_for >= p.since AND r.task_name NOT LIKE '/trial/%'
   ORDER BY r.task_id, r.scheduled_for DESC, r.run_id DESC
), newest AS (
  SELECT * FROM failed ORDER BY scheduled_for DESC, run_id DESC LIMIT (SELECT row_limit FROM parameter)
)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, NULL::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, NULL::integer AS return_value_bytes, n.failures
  FROM newest n JOIN run_log r USING (task_id, scheduled_for, attempt)
 ORDER BY r.scheduled_for DESC, r.run_id DESC;
