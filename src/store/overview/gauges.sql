-- What Prometheus is told of each task.
SELECT t.name AS task, coalesce(c.runs_total, 0) AS runs_total, coalesce(c.failures_total, 0) AS failures_total,
       coalesce(c.consecutive_failures, 0) AS consecutive_failures, c.last_success_at, c.last_finished_at, c.last_duration_ms,
       c.last_status, s.next_fire_at, t.paused_at IS NOT NULL AS is_paused, coalesce(t.problem, t.planned_problem, e.problem) IS NOT NULL AS has_problem
  FROM task t LEFT JOIN task_stat c USING (task_id) LEFT JOIN task_schedule s USING (task_id)
  LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
 WHERE t.retired_at IS NULL AND t.source <> 'trial' ORDER BY t.name;
