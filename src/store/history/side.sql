-- One run of a task, with all that it ran with. The header is that of its version, as the task's story has it from before the run.
SELECT r.run_id, r.scheduled_for, r.attempt, r.trigger, r.as_of, r.status, r.reason, r.detail,
       CASE WHEN r.error_type IS NULL THEN r.error ELSE concat_ws(': ', r.error_type, nullif(r.error, '')) END AS error,
       r.duration_ms, r.start_delay_ms, r.max_rss_kb, r.cpu_ms, r.return_value::text AS return_value, r.warnings, r.args::text AS args,
       r.limits::text AS limits, r.script_sha256, v.content, h.header::text AS header,
       coalesce(r.python, n.python) AS python, r.python IS NOT NULL AS packages_known, r.lock_sha256, l.content AS lock_content,
       l.python AS lock_python,
       CASE WHEN n.node_id IS NOT NULL THEN n.host END AS host, n.version
  FROM run_log r
  LEFT JOIN script_version v ON v.sha256 = r.script_sha256
  LEFT JOIN node n USING (node_id)
  LEFT JOIN package_lock l ON l.lock_sha256 = r.lock_sha256
  LEFT JOIN LATERAL (
    SELECT e.after -> 'header' AS header FROM task_event e
     WHERE e.task_id = r.task_id AND e.after ? 'header' AND e.after ->> 'script_sha256' = encode(r.script_sha256, 'hex')
     ORDER BY e.at <= coalesce(r.started_at, r.queued_at) DESC, e.at DESC, e.event_id DESC LIMIT 1) h ON true
 WHERE r.run_id = $1::bigint AND r.task_id = $2::bigint;
