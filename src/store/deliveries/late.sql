-- Tells of runs that should have started a while ago and still wait. What was let go a moment ago may not be written yet: one
-- that a node has claimed gets that moment more. Runs that start late are told of when they end, if not here.
WITH late AS MATERIALIZED (
  SELECT l.task_id, l.run_id, l.scheduled_for
    FROM run_lease l JOIN task t USING (task_id)
   WHERE t.late_after_seconds IS NOT NULL AND t.notify_to <> '{}' AND l.state IN ('queued', 'claimed') AND l.attempt = 1
     AND l.trigger IN ('schedule', 'catch_up') AND l.cancel_requested_at IS NULL
     AND l.due_at < clock_timestamp() - make_interval(secs => t.late_after_seconds + CASE l.state WHEN 'claimed' THEN 2 ELSE 0 END)
     AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.run_id = l.run_id AND d.kind = 'late')
     AND is_first_late(l.task_id, l.scheduled_for, t.late_after_seconds)
)
SELECT add_deliveries(array_agg('late'::text), array_agg(task_id), array_agg(run_id), array_agg(scheduled_for), NULL)
  FROM late HAVING count(*) > 0;
