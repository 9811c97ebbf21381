-- What is due next, in order.
SELECT t.name AS task, s.next_fire_at AS scheduled_for
  FROM task_schedule s JOIN task t USING (task_id)
 WHERE s.next_due_at IS NOT NULL AND t.retired_at IS NULL
 ORDER BY s.next_due_at, t.name LIMIT $1::bigint;
