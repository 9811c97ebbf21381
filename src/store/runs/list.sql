-- Rows of the run log, newest first. Of one task they are read by the primary key, of all by time, and one run by its number;
-- a task's rows from before it was renamed are its rows too. Trials are left out of what is asked of all.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::text AS status, $3::bigint AS run_id, $4::timestamptz AS since, $5::bigint AS row_limit
), chosen AS (
  (SELECT r.task_id, r.scheduled_for, r.attempt
     FROM parameter p, run_log r
    WHERE p.task_name IS NULL AND (p.run_id IS NOT NULL OR r.task_name NOT LIKE '/trial/%')
      AND (p.status IS NULL OR r.status = p.status)
      AND (p.run_id IS NULL OR r.run_id = p.run_id)
      AND r.scheduled_for >= p.since
    ORDER BY r.scheduled_for DESC, r.run_id DESC
    LIMIT (SELECT row_limit FROM parameter))
  UNION ALL
  (SELECT r.task_id, r.scheduled_for, r.attempt
     FROM parameter p JOIN task t ON t.name = p.task_name
     CROSS JOIN LATERAL (
       SELECT * FROM run_log r
        WHERE r.task_id = t.task_id
          AND (p.status IS NULL OR r.status = p.status)
          AND (p.run_id IS NULL OR r.run_id = p.run_id)
          AND r.scheduled_for >= p.since
        ORDER BY r.scheduled_for DESC, r.attempt DESC
        LIMIT p.row_limit) r)
)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, NULL::integer AS return_value_bytes
  FROM chosen c JOIN run_log r USING (task_id, scheduled_for, attempt)
 ORDER BY r.scheduled_for DESC, r.run_id DESC
 LIMIT (SELECT row_limit FROM parameter);
