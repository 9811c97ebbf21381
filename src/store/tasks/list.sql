-- Every task that is not retired, but for trials, or the one of a name, with how it stands.
WITH parameter AS (SELECT $1::text AS name)
SELECT t.task_id, t.name, t.source, t.script_path, coalesce(t.schedule_override, t.schedule) AS schedule,
       coalesce(t.timezone_override, t.timezone) AS timezone, t.enabled, t.paused_at, t.paused_by, t.paused_reason,
       coalesce(t.problem, t.planned_problem, e.problem) AS problem, e.state = 'building' IS TRUE AS is_building, t.description, t.owner, t.tags, t.overlap, t.max_running, t.missed,
       t.timeout_seconds, t.retry_max, t.args::text AS args, t.script_sha256,
       t.notify_after, t.notify_recovery, t.notify_to, t.late_after_seconds,
       s.next_fire_at, c.last_run_id, c.last_status, c.last_scheduled_for, c.last_finished_at, c.last_duration_ms,
       c.consecutive_failures, l.run_id AS active_run_id, l.state AS active_state
  FROM parameter p JOIN task t ON t.retired_at IS NULL AND CASE WHEN p.name IS NULL THEN t.source <> 'trial' ELSE t.name = p.name END
  LEFT JOIN task_schedule s USING (task_id)
  LEFT JOIN task_stat c USING (task_id)
  LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
  LEFT JOIN LATERAL (SELECT run_id, state FROM run_lease l WHERE l.task_id = t.task_id ORDER BY run_id LIMIT 1) l ON true
 ORDER BY t.name;
