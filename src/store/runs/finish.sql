-- Ends runs. Fenced: only the node that owned a run may end it, only once; the end of a run that was given up as lost is
-- corrected by one late report. The bound on scheduled_for lets the planner see one partition.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::smallint[], $5::text[], $6::text[], $7::text[],
                       $8::timestamptz[], $9::timestamptz[], $10::integer[], $11::smallint[], $12::text[], $13::text[],
                       $14::text[], $15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::bytea[], $20::text[], $21::bytea[], $22::text[])
    AS i(run_id, task_id, scheduled_for, attempt, status, reason, detail, started_at, finished_at, exit_code, signal,
         return_value, error_type, error, traceback, warnings, max_rss_kb, cpu_ms, script_sha256, limits, lock_sha256,
         python)
), parameter AS (
  SELECT $23::uuid AS node_id
), ended AS (
  UPDATE run_log r
     SET status = i.status, reason = i.reason, detail = i.detail, started_at = i.started_at,
         finished_at = i.finished_at, exit_code = i.exit_code, signal = i.signal, return_value = i.return_value::jsonb,
         error_type = i.error_type, error = i.error, traceback = i.traceback,
         warnings = ARRAY(SELECT jsonb_array_elements_text(i.warnings::jsonb)),
         max_rss_kb = i.max_rss_kb, cpu_ms = i.cpu_ms, script_sha256 = coalesce(i.script_sha256, r.script_sha256),
         limits = i.limits::jsonb, lock_sha256 = i.lock_sha256, python = i.python,
         late_report = r.status = 'lost'
    FROM input i, parameter p
   WHERE r.task_id = i.task_id AND r.scheduled_for = i.scheduled_for AND r.attempt = i.attempt
     AND r.node_id = p.node_id
     AND (r.status IN ('queued', 'running') OR (r.status = 'lost' AND NOT r.late_report))
     AND r.scheduled_for BETWEEN $24::timestamptz AND $25::timestamptz
  RETURNING r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.as_of, r.args, r.requested_by, r.status,
            r.finished_at, r.duration_ms, r.node_id, r.late_report, r.script_sha256
), released AS (
  DELETE FROM run_lease l USING input i, parameter p WHERE l.run_id = i.run_id AND l.node_id = p.node_id
), again AS MATERIALIZED (
  SELECT e.run_id AS ended_run_id,
         queue_next_attempt(e.task_id, e.task_name, e.scheduled_for, e.attempt, e.trigger, e.as_of, e.args, e.requested_by,
                            e.node_id, e.finished_at) AS run_id
    FROM ended e JOIN task t USING (task_id)
   WHERE e.status = ANY (t.retry_on) AND NOT e.late_report
), counted AS (
  SELECT count_ends(array_agg(e.task_id), array_agg(e.run_id), array_agg(e.scheduled_for), array_agg(e.status),
                    array_agg(e.finished_at), array_agg(e.duration_ms), array_agg(e.late_report),
                    array_agg(CASE WHEN a.run_id IS NOT NULL THEN 'queued' END))
    FROM ended e LEFT JOIN again a ON a.ended_run_id = e.run_id HAVING count(*) > 0
), observed AS (
  SELECT record_observations(array_agg(e.run_id), array_agg(e.task_id), array_agg(e.attempt),
                             array_agg(coalesce(e.as_of, e.scheduled_for)), array_agg(e.script_sha256),
                             $26::bigint[], $27::text[], $28::timestamptz[], $29::text[], $30::text[])
    FROM ended e
   WHERE e.status = 'succeeded' AND (e.trigger <> 'manual' OR e.as_of IS NOT NULL) AND e.run_id = ANY ($31::bigint[])
  HAVING count(*) > 0
)
-- What nothing reads is not done: hence the counts.
SELECT i.run_id, e.run_id IS NOT NULL AS accepted, (SELECT count(run_id) FROM again) AS retries,
       (SELECT count(*) FROM counted) AS counted, (SELECT count(*) FROM observed) AS observed
  FROM input i LEFT JOIN ended e USING (run_id);
