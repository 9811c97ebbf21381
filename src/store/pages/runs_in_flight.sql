-- Runs that are queued or running, newest first, on from a place; of one task or of all, trials left out. Each of them has a lease, of
-- which there are few; the limit of 1 keeps the planner from reading the whole log instead.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::text[] AS statuses, $3::text AS trigger, $4::timestamptz AS since, $5::timestamptz AS until,
         $6::timestamptz AS before_at, $7::bigint AS before_run_id, $8::bigint AS row_limit
)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, NULL::integer AS return_value_bytes
  FROM parameter p
  LEFT JOIN task t ON t.name = p.task_name
  JOIN run_lease l ON p.task_name IS NULL OR l.task_id = t.task_id
 CROSS JOIN LATERAL (
   SELECT * FROM run_log r
    WHERE r.task_id = l.task_id AND r.scheduled_for = l.scheduled_for AND r.attempt = l.attempt LIMIT 1) r
 WHERE (p.task_name IS NOT NULL OR r.task_name NOT LIKE '/trial/%')
   AND r.status = ANY (p.statuses) AND (p.trigger IS NULL OR r.trigger = p.trigger)
   AND r.scheduled_for >= p.since AND r.scheduled_for <= p.until
   AND (p.before_at IS NULL OR (r.scheduled_for, r.run_id) < (p.before_at, p.before_run_id))
 ORDER BY r.scheduled_for DESC, r.run_id DESC
 LIMIT (SELECT row_limit FROM parameter);
