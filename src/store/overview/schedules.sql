-- The plans in force of all tasks whose cursor moves: what else is due at an instant.
SELECT t.name AS task, t.planned_schedule AS schedule, t.planned_timezone AS timezone
  FROM task t JOIN task_schedule s USING (task_id)
 WHERE t.retired_at IS NULL AND s.next_fire_at IS NOT NULL AND t.planned_schedule IS NOT NULL AND t.planned_timezone IS NOT NULL
 ORDER BY t.name;
