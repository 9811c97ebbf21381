-- Rows of the run log that have one of some reasons, newest first, on from a place; of one task or of all, trials left out. For each
-- reason the newest are read in the order of an index that has nothing else: how rare it is makes no difference. Values are left out
-- as in runs.sql.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::text AS task_name, $2::text[] AS reasons, $3::text AS trigger, $4::timestamptz AS since, $5::timestamptz AS until,
         $6::text[] AS value_path, $7::double precision::numeric AS value_min, $8::double precision::numeric AS value_max, $9::timestamptz AS before_at,
         $10::bigint AS before_run_id, $11::bigint AS row_limit, $12::integer AS largest_value
)
SELECT r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.as_of,
       r.node_id, r.queued_at, r.due_at, r.started_at, r.finished_at, r.exit_code, r.signal, r.missed_count, r.missed_until,
       r.blocking_run_id, CASE WHEN p.largest_value IS NULL OR size.bytes <= p.largest_value THEN r.return_value::text END AS return_value,
       r.error_type, r.error, r.traceback, r.warnings, r.max_rss_kb,
       r.cpu_ms, r.script_sha256, r.late_report, r.duration_ms, r.start_delay_ms, r.requested_by, r.limits::text AS limits,
       r.lock_sha256, r.python, CASE WHEN size.bytes > p.largest_value THEN size.bytes END AS return_value_bytes
  FROM parameter p
 CROSS JOIN unnest(p.reasons) AS w(reason)
  LEFT JOIN task t ON t.name = p.task_name
 CROSS JOIN LATERAL (
   SELECT * FROM run_log r
    WHERE r.reason = w.reason
      AND CASE WHEN p.task_name IS NULL THEN r.task_name NOT LIKE '/trial/%' ELSE r.task_id = t.task_id END
      AND (p.trigger IS NULL OR r.trigger = p.trigger)
      AND r.scheduled_for >= p.since AND r.scheduled_for <= p.until
      AND (p.before_at IS NULL OR r.scheduled_for <= p.before_at)
      AND (p.before_at IS NULL OR (r.scheduled_for, r.run_id) < (p.before_at, p.before_run_id))
      AND (p.value_path IS NULL OR CASE WHEN jsonb_typeof(r.return_value #> p.value_path) = 'number'
             THEN coalesce((r.return_value #> p.value_path)::numeric >= p.value_min, true) AND coalesce((r.return_value #> p.value_path)::numeric <= p.value_max, true)
             ELSE false END)
    ORDER BY r.scheduled_for DESC, r.run_id DESC
    LIMIT p.row_limit) r
 CROSS JOIN LATERAL (
   SELECT CASE WHEN p.largest_value IS NULL THEN NULL
               WHEN pg_column_size(r.return_value) > p.largest_value THEN pg_column_size(r.return_value)
               ELSE octet_length(r.return_value::text) END AS bytes
   OFFSET 0) size
 ORDER BY r.scheduled_for DESC, r.run_id DESC
 LIMIT (SELECT row_limit FROM parameter);
