-- Ends what nodes that are gone have left: what cannot have been started goes back to the queue, the rest is lost.
-- A command (one run in a terminal) has no successor: what it did not start is lost with it.
WITH gone AS MATERIALIZED (
  SELECT l.run_id, l.task_id, l.scheduled_for, l.attempt, n.node_id, n.host, n.pid,
         l.state = 'claimed' AND n.kind = 'serve' AND least(n.lease_until, clock_timestamp()) < l.due_at AS unstarted
    FROM run_lease l JOIN node n USING (node_id)
   WHERE n.state IN ('dead', 'stopped')
   ORDER BY l.run_id LIMIT 500
     FOR UPDATE OF l SKIP LOCKED
), requeued AS (
  UPDATE run_lease l SET state = 'queued', node_id = NULL, group_name = NULL, group_slot = NULL
    FROM gone g WHERE l.run_id = g.run_id AND g.unstarted
), dropped AS (
  DELETE FROM run_lease l USING gone g WHERE l.run_id = g.run_id AND NOT g.unstarted
), settled AS (
  UPDATE run_log r
     SET status = CASE WHEN g.unstarted THEN 'queued' ELSE 'lost' END,
         reason = CASE WHEN NOT g.unstarted THEN 'node_gone' END,
         detail = CASE WHEN NOT g.unstarted
                       THEN format('the dropcron process that ran it (%s, pid %s) is gone', g.host, g.pid) END,
         node_id = CASE WHEN NOT g.unstarted THEN g.node_id END,
         finished_at = CASE WHEN NOT g.unstarted THEN greatest(clock_timestamp(), r.started_at) END
    FROM gone g
   WHERE r.task_id = g.task_id AND r.scheduled_for = g.scheduled_for AND r.attempt = g.attempt
     AND r.status IN ('queued', 'running')
  RETURNING r.run_id, r.task_id, r.task_name, r.scheduled_for, r.attempt, r.trigger, r.as_of, r.args, r.requested_by, r.status,
            r.finished_at, r.node_id, r.duration_ms, r.late_report
), again AS MATERIALIZED (
  SELECT e.run_id AS ended_run_id,
         queue_next_attempt(e.task_id, e.task_name, e.scheduled_for, e.attempt, e.trigger, e.as_of, e.args, e.requested_by,
                            e.node_id, e.finished_at) AS run_id
    FROM settled e JOIN task t USING (task_id)
   WHERE e.status = ANY (t.retry_on)
), counted AS (
  SELECT count_ends(array_agg(e.task_id), array_agg(e.run_id), array_agg(e.scheduled_for), array_agg(e.status),
                    array_agg(e.finished_at), array_agg(e.duration_ms), array_agg(e.late_report),
                    array_agg(CASE WHEN a.run_id IS NOT NULL THEN 'queued' END))
    FROM settled e LEFT JOIN again a ON a.ended_run_id = e.run_id WHERE e.status = 'lost' HAVING count(*) > 0
)
-- What nothing reads is not done: hence the counts.
SELECT run_id, task_name, scheduled_for, status, (SELECT count(run_id) FROM again) AS retries,
       (SELECT count(*) FROM counted) AS counted
  FROM settled;
