-- Trials that nobody has asked for again for a week, and that do not run.
DELETE FROM task t
 WHERE t.source = 'trial' AND t.updated_at < clock_timestamp() - interval '7 days' AND t.created_at < clock_timestamp() - interval '7 days'
   AND NOT EXISTS (SELECT FROM run_lease l WHERE l.task_id = t.task_id);
