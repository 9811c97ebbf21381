-- Rows of the run log, newest first, on from a place. Of one task they are read by the primary key, of all by time; trials are
-- left out of what is asked of all. A value is compared where a number stands at its path.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::text[] AS statuses, $3::text AS trigger, $4::timestamptz AS since, $5::timestamptz AS until,
         $6::text[] AS value_path, $7::double precision::numeric AS value_min, $8::double precision::numeric AS value_max, $9::timestamptz AS before_at,
         $10::bigint AS before_run_id, $11::bigint AS row_limit
), chosen AS (
  (SELECT r.task_id, r.scheduled_for, r.attempt
     FROM parameter p, run_log r
    WHERE p.task_name IS NULL AND r.task_name NOT LIKE '/trial/%'
      AND (p.statuses IS NULL OR r.status = ANY (p.statuses)) AND (p.trigger IS NULL OR r.trigger = p.trigger)
      AND r.scheduled_for >= p.since AND r.scheduled_for <= p.until
      AND (p.before_at IS NULL OR (r.scheduled_for, r.run_id) < (p.before_at, p.before_run_id))
      AND (p.value_path IS NULL OR CASE WHEN jsonb_typeof(r.return_value #> p.value_path) = 'number'
             THEN coalesce((r.return_value #> p.value_path)::numeric >= p.value_min, true) AND coalesce((r.return_value #> p.value_path)::numeric <= p.value_max, true)
             ELSE false END)
    ORDER BY r.scheduled_for DESC, r.run_id DESC
    LIMIT (SELECT row_limit FROM parameter))
  UNION ALL
  (SELECT r.task_id, r.scheduled_for, r.attempt
     FROM parameter p JOIN task t ON t.name = p.task_name
     CROSS JOIN LATERAL (
       SELECT * FROM run_log r
        WHERE r.task_id = t.task_id
          AND (p.statuses IS NULL OR r.status = ANY (p.statuses)) AND (p.trigger IS NULL OR r.trigger = p.trigger)
          AND r.scheduled_for >= p.since AND r.scheduled_for <= p.until
          AND (p.before_at IS NULL OR r.scheduled_for <= p.before_at)
          AND (p.before_at IS NULL OR (r.scheduled_for, r.run_id) < (p.before_at, p.before_run_id))
          AND (p.value_path IS NULL OR CASE WHEN jsonb_typeof(r.return_value #> p.value_path) = 'number'
                 THEN coalesce((r.return_value #> p.value_path)::numeric >= p.value_min, true) AND coalesce((r.return_value #> p.value_path)::numeric <= p.value_max, true)
                 ELSE false END)
        ORDER BY r.scheduled_for DESC, r.run_id DESC
        LIMIT p.row_limit) r)
)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value::text AS return_value, r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python
  FROM chosen c JOIN run_log r USING (task_id, scheduled_for, attempt)
 ORDER BY r.scheduled_for DESC, r.run_id DESC
 LIMIT (SELECT row_limit FROM parameter);
