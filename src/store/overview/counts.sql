-- How many tasks stand how, and what became of the instants since a time, trials left out. What succeeded is not counted: the others
-- have a reason each, and an index of their own.
WITH parameter AS NOT MATERIALIZED (SELECT $1::timestamptz AS since, $2::text[] AS reasons)
SELECT t.tasks, t.paused, t.disabled, t.problems, t.failing, l.running, l.queued, r.failed, r.missed, r.skipped
  FROM (SELECT count(*) AS tasks, count(*) FILTER (WHERE paused_at IS NOT NULL) AS paused, count(*) FILTER (WHERE NOT enabled) AS disabled,
               count(*) FILTER (WHERE coalesce(t.problem, planned_problem, e.problem) IS NOT NULL) AS problems,
               count(*) FILTER (WHERE c.consecutive_failures > 0) AS failing
          FROM task t LEFT JOIN task_stat c USING (task_id)
          LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
         WHERE retired_at IS NULL AND source <> 'trial') t,
       (SELECT count(*) FILTER (WHERE state = 'running') AS running,
               count(*) FILTER (WHERE state = 'queued' AND due_at <= clock_timestamp()) AS queued FROM run_lease) l,
       (SELECT count(*) FILTER (WHERE r.status IN ('failed', 'timed_out', 'lost')) AS failed,
               coalesce(sum(coalesce(r.missed_count, 1)) FILTER (WHERE r.status = 'missed'), 0)::bigint AS missed,
               count(*) FILTER (WHERE r.status = 'skipped') AS skipped
          FROM parameter p, run_log r
         WHERE r.reason = ANY (p.reasons) AND r.scheduled_for >= p.since AND r.task_name NOT LIKE '/trial/%') r;
