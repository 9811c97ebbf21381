-- Ends queued runs that will never start: cancelled, their task retired or deleted, or later than their task allows.
WITH parameter AS (
  SELECT $1::timestamptz AS now
), over AS MATERIALIZED (
  SELECT l.run_id, l.task_id, l.scheduled_for, l.attempt, l.cancel_requested_by, p.now,
         CASE WHEN l.cancel_requested_at IS NOT NULL THEN coalesce(l.cancel_reason, 'requested')
              WHEN t.retired_at IS NOT NULL OR t.task_id IS NULL THEN 'void'
              ELSE 'grace' END AS reason
    FROM parameter p, run_lease l LEFT JOIN task t USING (task_id)
   WHERE l.state = 'queued'
     AND (l.cancel_requested_at IS NOT NULL OR t.retired_at IS NOT NULL OR t.task_id IS NULL
          OR (l.trigger IN ('schedule', 'catch_up') AND l.attempt = 1
              AND l.due_at + make_interval(secs => t.grace_seconds) < p.now))
   LIMIT 500 FOR UPDATE OF l SKIP LOCKED
), dropped AS (
  DELETE FROM run_lease l USING over o WHERE l.run_id = o.run_id
), closed AS (
  UPDATE run_log r
     SET status = CASE o.reason WHEN 'grace' THEN 'skipped' ELSE 'cancelled' END, reason = o.reason, finished_at = o.now,
         detail = CASE o.reason WHEN 'grace' THEN 'waited longer than its grace for a place'
                                WHEN 'void' THEN 'its task was removed before it could start'
                                ELSE 'asked by ' || coalesce(o.cancel_requested_by, 'somebody') END
    FROM over o
   WHERE r.task_id = o.task_id AND r.scheduled_for = o.scheduled_for AND r.attempt = o.attempt AND r.status = 'queued'
  RETURNING r.run_id, r.task_id, r.scheduled_for, r.status
), told AS (
  SELECT add_deliveries(array_agg('missed'::text), array_agg(task_id), array_agg(run_id), array_agg(scheduled_for), NULL)
    FROM closed WHERE status = 'skipped' HAVING count(*) > 0
)
-- What nothing reads is not done: hence the count.
SELECT run_id, (SELECT count(*) FROM told) AS told FROM closed;
