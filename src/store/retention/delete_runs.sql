-- Rows of the run log of a task from before an instant, with their output: so many, the oldest first.
WITH chosen AS MATERIALIZED (
  SELECT r.task_id, r.scheduled_for, r.attempt, r.run_id
    FROM run_log r
   WHERE r.task_id = $1::bigint AND r.scheduled_for < $2::timestamptz AND r.status NOT IN ('queued', 'running')
   ORDER BY r.scheduled_for, r.attempt LIMIT $3::bigint
), silenced AS (
  DELETE FROM run_output o USING chosen c WHERE o.run_id = c.run_id
)
DELETE FROM run_log r USING chosen c
 WHERE r.task_id = c.task_id AND r.scheduled_for = c.scheduled_for AND r.attempt = c.attempt;
