-- A plan in force that cannot be read any more, for example because its zone is gone: the task stands still, visibly, and is
-- planned anew with the next change. The task event says from which instant on.
WITH input AS (
  SELECT $1::bigint AS task_id, $2::text AS problem
), stopped AS (
  UPDATE task_schedule s SET next_fire_at = NULL, next_due_at = NULL FROM input i WHERE s.task_id = i.task_id
  RETURNING s.task_id, s.last_fire_at
), told AS (
  INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
  SELECT t.task_id, t.name, 'planner', 'planned', w.was,
         w.was || jsonb_build_object('idle', 'unplannable', 'problem', i.problem, 'holds_after', s.last_fire_at)
    FROM input i JOIN stopped s USING (task_id) JOIN task t USING (task_id)
    CROSS JOIN LATERAL (SELECT jsonb_build_object('schedule', t.planned_schedule, 'timezone', t.planned_timezone,
                                                  'idle', t.planned_idle, 'problem', t.planned_problem) AS was) w
)
UPDATE task t SET planned_problem = i.problem FROM input i, stopped s WHERE t.task_id = i.task_id AND s.task_id = i.task_id;
