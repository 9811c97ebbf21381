-- The last run of a task that succeeded before the newest failure, and the first that failed after it.
WITH bad AS (
  SELECT r.task_id, r.scheduled_for, r.attempt FROM run_log r
   WHERE r.task_id = $1::bigint AND r.status IN ('failed', 'timed_out', 'lost')
   ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1
), good AS (
  SELECT r.* FROM bad b CROSS JOIN LATERAL (
    SELECT r.run_id, r.task_id, r.scheduled_for, r.attempt FROM run_log r
     WHERE r.task_id = b.task_id AND r.status = 'succeeded' AND (r.scheduled_for, r.attempt) < (b.scheduled_for, b.attempt)
     ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1) r
)
SELECT b.scheduled_for AS failed_at, g.run_id AS good_run_id, f.run_id AS bad_run_id
  FROM bad b LEFT JOIN good g ON true
  LEFT JOIN LATERAL (
    SELECT r.run_id FROM run_log r
     WHERE r.task_id = g.task_id AND r.status IN ('failed', 'timed_out', 'lost') AND (r.scheduled_for, r.attempt) > (g.scheduled_for, g.attempt)
     ORDER BY r.scheduled_for, r.attempt LIMIT 1) f ON true;
