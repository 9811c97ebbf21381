-- Takes back notifications; what was to be delivered goes with them.
DROP FUNCTION count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[], text[]),
  count_dropped(bigint[], timestamptz[], smallint[]),
  add_deliveries(text[], bigint[], bigint[], timestamptz[], integer[]),
  is_first_late(bigint, timestamptz, double precision);
DROP TABLE delivery;
ALTER TABLE task_stat DROP COLUMN alerted_run_id, DROP COLUMN recovered_run_id;
COMMENT ON COLUMN task_stat.consecutive_failures IS 'Failures since then.';
ALTER TABLE task DROP COLUMN notify_after, DROP COLUMN notify_recovery, DROP COLUMN notify_to, DROP COLUMN late_after_seconds;

CREATE FUNCTION count_ends(task_ids bigint[], run_ids bigint[], scheduled_for timestamptz[], statuses text[],
                           finished_at timestamptz[], durations_ms double precision[], late_reports boolean[])
RETURNS void LANGUAGE sql AS $$
  -- A late report corrects an end that was counted before, as lost: one failure.
  WITH input AS (
    SELECT i.*, i.status IN ('failed', 'timed_out', 'lost') AS is_failure, s.last_success_at AS prior_success_at
      FROM unnest(count_ends.task_ids, count_ends.run_ids, count_ends.scheduled_for, count_ends.statuses,
                  count_ends.finished_at, count_ends.durations_ms, count_ends.late_reports)
        AS i(task_id, run_id, scheduled_for, status, finished_at, duration_ms, late_report)
      LEFT JOIN task_stat s USING (task_id)
  ), success AS (
    SELECT task_id, max(finished_at) AS success_at FROM input WHERE status = 'succeeded' GROUP BY task_id
  ), newest AS (
    SELECT DISTINCT ON (task_id) * FROM input ORDER BY task_id, finished_at DESC, run_id DESC
  ), total AS (
    SELECT i.task_id, s.success_at,
           count(*) FILTER (WHERE i.is_failure AND NOT i.late_report
                              AND i.finished_at > coalesce(greatest(s.success_at, i.prior_success_at), '-infinity')) AS failures_since,
           count(*) FILTER (WHERE NOT i.late_report) AS runs,
           count(*) FILTER (WHERE i.is_failure AND NOT i.late_report)
             - count(*) FILTER (WHERE NOT i.is_failure AND i.late_report) AS failures
      FROM input i LEFT JOIN success s USING (task_id) GROUP BY i.task_id, s.success_at
  )
  INSERT INTO task_stat AS s (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms,
                              last_success_at, consecutive_failures, runs_total, failures_total)
  SELECT t.task_id, n.run_id, n.scheduled_for, n.status, n.finished_at, n.duration_ms, t.success_at, t.failures_since, t.runs,
         greatest(t.failures, 0)
    FROM total t JOIN newest n USING (task_id) ORDER BY t.task_id
  ON CONFLICT (task_id) DO UPDATE SET
    (last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms) =
      (SELECT CASE WHEN newer THEN excluded.last_run_id ELSE s.last_run_id END,
              CASE WHEN newer THEN excluded.last_scheduled_for ELSE s.last_scheduled_for END,
              CASE WHEN newer THEN excluded.last_status ELSE s.last_status END,
              CASE WHEN newer THEN excluded.last_finished_at ELSE s.last_finished_at END,
              CASE WHEN newer THEN excluded.last_duration_ms ELSE s.last_duration_ms END
         FROM (SELECT (excluded.last_finished_at >= s.last_finished_at OR excluded.last_run_id = s.last_run_id
                       OR s.last_finished_at IS NULL) AS newer) n),
    last_success_at = greatest(s.last_success_at, excluded.last_success_at),
    -- A success ends the count, unless something that ended after it was counted already.
    consecutive_failures = excluded.consecutive_failures
      + CASE WHEN excluded.last_success_at >= s.last_finished_at
               OR (s.last_run_id = excluded.last_run_id AND excluded.last_status = 'succeeded') THEN 0
             ELSE s.consecutive_failures END,
    runs_total = s.runs_total + excluded.runs_total,
    failures_total = greatest(s.failures_total + (SELECT t.failures FROM total t WHERE t.task_id = s.task_id), 0)
$$;
COMMENT ON FUNCTION count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[]) IS 'Counts ends of attempts in task_stat. Failures are failed, timed_out and lost; an end that is older than the newest one known only counts.';
