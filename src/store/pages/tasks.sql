-- Tasks by name, on from a name: how each stands, and its newest runs. Each task's runs are read by the primary key of the log.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::text AS name, $2::text AS search, $3::text AS tag, $4::text AS state, $5::text AS after_name, $6::bigint AS row_limit,
         $7::integer AS recent_limit
), chosen AS MATERIALIZED (
  SELECT t.*, x.state, e.problem AS packages_problem, l.run_id AS active_run_id, l.state AS active_state
    FROM parameter p JOIN task t ON t.retired_at IS NULL
    LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
    LEFT JOIN LATERAL (SELECT run_id, state FROM run_lease l WHERE l.task_id = t.task_id ORDER BY run_id LIMIT 1) l ON true
    CROSS JOIN LATERAL (SELECT CASE WHEN coalesce(t.problem, t.planned_problem, e.problem) IS NOT NULL THEN 'problem'
                                    WHEN t.paused_at IS NOT NULL THEN 'paused' WHEN NOT t.enabled THEN 'disabled'
                                    WHEN l.state = 'running' THEN 'running' WHEN e.state = 'building' THEN 'building'
                                    WHEN l.state IS NOT NULL THEN 'queued'
                                    WHEN cardinality(coalesce(t.schedule_override, t.schedule)) = 0 THEN 'manual'
                                    ELSE 'ready' END AS state) x
   WHERE CASE WHEN p.name IS NOT NULL THEN t.name = p.name ELSE t.source <> 'trial' END
     AND (p.after_name IS NULL OR t.name > p.after_name)
     AND (p.tag IS NULL OR p.tag = ANY (t.tags))
     AND (p.search IS NULL OR position(lower(p.search) IN lower(concat_ws(' ', t.name, t.description, t.owner))) > 0)
     AND (p.state IS NULL OR x.state = p.state
          OR (p.state = 'failing' AND EXISTS (SELECT FROM task_stat c WHERE c.task_id = t.task_id AND c.consecutive_failures > 0)))
   ORDER BY t.name LIMIT (SELECT row_limit FROM parameter)
)
SELECT t.task_id, t.name, t.source, t.script_path, t.script_kind, t.is_async, coalesce(t.schedule_override, t.schedule) AS schedule,
       coalesce(t.timezone_override, t.timezone) AS timezone, t.schedule_override, t.timezone_override, t.enabled, t.paused_at,
       t.paused_by, t.paused_reason, coalesce(t.problem, t.planned_problem, t.packages_problem) AS problem, t.state, t.description, t.owner, t.tags,
       t.overlap, t.max_running, t.missed, t.timeout_seconds, t.retry_max, t.args::text AS args, t.header::text AS header,
       t.script_sha256, t.notify_after, t.notify_recovery, t.notify_to, t.late_after_seconds, t.created_at, t.updated_at,
       s.next_fire_at, c.last_run_id, c.last_status, c.last_scheduled_for, c.last_finished_at, c.last_duration_ms,
       c.last_success_at, c.consecutive_failures, t.active_run_id, t.active_state, r.recent
  FROM chosen t
  LEFT JOIN task_schedule s USING (task_id)
  LEFT JOIN task_stat c USING (task_id)
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object('run_id', n.run_id, 'status', n.status, 'duration_ms', n.duration_ms,
                                               'scheduled_for', n.scheduled_for) ORDER BY n.scheduled_for, n.attempt), '[]')::text AS recent
      FROM (SELECT r.run_id, r.status, r.duration_ms, r.scheduled_for, r.attempt FROM run_log r
             WHERE r.task_id = t.task_id ORDER BY r.scheduled_for DESC, r.attempt DESC
             LIMIT (SELECT recent_limit FROM parameter)) n) r
 ORDER BY t.name;
