-- Output of a task's runs that were due between two instants and have ended: so many chunks, the oldest first.
WITH chosen AS MATERIALIZED (
  SELECT o.run_id, o.sequence, o.written_at
    FROM run_log r CROSS JOIN LATERAL (SELECT * FROM run_output o WHERE o.run_id = r.run_id OFFSET 0) o
   WHERE r.task_id = $1::bigint AND r.scheduled_for >= $2::timestamptz AND r.scheduled_for < $3::timestamptz
     AND r.status NOT IN ('queued', 'running')
   ORDER BY r.scheduled_for, o.run_id, o.sequence LIMIT $4::bigint
)
DELETE FROM run_output o USING chosen c
 WHERE o.run_id = c.run_id AND o.sequence = c.sequence AND o.written_at = c.written_at;
