-- Rows of the run log around some instants of a task, each with its part in the answer. Every look-up is bounded by the instant, so that
-- partitions are pruned.
WITH parameter AS (
  SELECT $1::bigint AS task_id, $2::timestamptz[] AS instants
), asked AS MATERIALIZED (
  SELECT DISTINCT p.task_id, i.at FROM parameter p, unnest(p.instants) AS i(at)
), own AS MATERIALIZED (
  SELECT a.at, r.* FROM asked a JOIN run_log r ON r.task_id = a.task_id AND r.scheduled_for = a.at
   WHERE r.trigger IN ('schedule', 'catch_up')
), span AS MATERIALIZED (
  -- Only the newest row before an instant can be a span that covers it: spans hold no other instants' rows.
  SELECT a.at, r.* FROM asked a CROSS JOIN LATERAL (
    SELECT * FROM run_log r
     WHERE r.task_id = a.task_id AND r.scheduled_for < a.at AND r.trigger IN ('schedule', 'catch_up')
     ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1) r
   WHERE r.missed_until >= a.at
), after_span AS (
  SELECT m.at, r.* FROM (SELECT at, task_id, missed_until FROM own WHERE status = 'missed'
                          UNION ALL SELECT at, task_id, missed_until FROM span) m
  CROSS JOIN LATERAL (
    SELECT * FROM run_log r
     WHERE r.task_id = m.task_id AND r.scheduled_for > m.missed_until AND r.trigger IN ('schedule', 'catch_up')
     ORDER BY r.scheduled_for, r.attempt LIMIT 1) r
), in_the_way AS (
  SELECT o.at, r.* FROM own o JOIN run_log r ON r.run_id = o.blocking_run_id AND r.scheduled_for <= o.at + interval '1 day'
), stand_in AS (
  -- Runs that stand for an instant come later, anybody's guess when: so many rows are read, the oldest first.
  SELECT a.at, r.* FROM asked a CROSS JOIN LATERAL (
    SELECT * FROM (SELECT * FROM run_log r WHERE r.task_id = a.task_id AND r.scheduled_for >= a.at
                    ORDER BY r.scheduled_for, r.attempt LIMIT 20000) r
     WHERE r.trigger IN ('manual', 'backfill') AND (r.as_of = a.at OR (r.trigger = 'manual' AND r.scheduled_for < a.at + interval '1 s'))
     ORDER BY r.scheduled_for, r.attempt LIMIT 5) r
), found AS (
  SELECT 'own' AS part, own.* FROM own
  UNION ALL SELECT 'span', span.* FROM span
  UNION ALL SELECT 'after_span', after_span.* FROM after_span
  UNION ALL SELECT 'in_the_way', in_the_way.* FROM in_the_way
  UNION ALL SELECT 'stand_in', stand_in.* FROM stand_in
)
SELECT f.part, f.at, f.run_id, f.task_name, f.scheduled_for, f.attempt, f.trigger, f.status, f.reason, f.detail, f.as_of,
       f.queued_at, f.due_at, f.started_at, f.finished_at, f.missed_count, f.missed_until, f.requested_by,
       CASE WHEN f.error_type IS NULL THEN f.error ELSE concat_ws(': ', f.error_type, nullif(f.error, '')) END AS error,
       CASE WHEN n.node_id IS NOT NULL THEN format('%s (pid %s)', n.host, n.pid) END AS node
  FROM found f LEFT JOIN node n USING (node_id)
 ORDER BY f.at, f.part, f.scheduled_for, f.attempt;
