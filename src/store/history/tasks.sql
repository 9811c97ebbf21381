-- Tasks that have a name, or had it: how they stand. Those that are there come first, then those that have the name, then the newest.
WITH parameter AS (
  SELECT $1::text AS name
), chosen AS (
  SELECT t.task_id FROM parameter p JOIN task t ON t.name = p.name
  UNION
  SELECT e.task_id FROM parameter p JOIN task_event e ON e.kind = 'renamed' AND e.before ->> 'name' = p.name
), live AS (
  SELECT queues, tags FROM node WHERE kind = 'serve' AND state = 'live' AND lease_until > clock_timestamp()
)
SELECT clock_timestamp() AS now, t.task_id, t.name, t.created_at, t.retired_at, t.schedule, t.timezone, t.schedule_override,
       t.timezone_override, t.enabled, t.paused_at, t.paused_by, t.paused_reason,
       t.updated_at, t.revision <> t.planned_revision AS changing, s.next_fire_at, coalesce(s.due_offset_seconds, 0) AS due_offset_seconds,
       t.overlap, t.missed, t.grace_seconds, t.max_running, t.queue, t.required_tags, t.concurrency_group,
       coalesce(g.max_running, 1::smallint) AS group_max_running, e.problem AS packages_problem,
       (SELECT count(*) FROM live) AS live_nodes,
       (SELECT count(*) FROM live n WHERE t.queue = ANY (n.queues) AND t.required_tags <@ n.tags) AS serving_nodes,
       -- Nothing is known from before the oldest partition, nor from before what the task keeps.
       greatest((SELECT min(m.begins_at) FROM partitions() m WHERE m.log = 'run_log'), t.runs_kept_since) AS horizon
  FROM chosen JOIN task t USING (task_id)
  CROSS JOIN parameter p
  LEFT JOIN task_schedule s USING (task_id)
  LEFT JOIN concurrency_group g ON g.group_name = t.concurrency_group
  LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
 ORDER BY t.name <> p.name, t.retired_at IS NOT NULL, t.task_id DESC LIMIT 10;
