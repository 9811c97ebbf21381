-- Instants between two at which a task has no value because its run failed or it did not run, newest first.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::bigint AS task_id, $2::timestamptz AS since, $3::timestamptz AS until, $4::bigint AS row_limit
)
SELECT coalesce(r.as_of, r.scheduled_for) AS at, r.run_id, r.status
  FROM parameter p JOIN run_log r ON r.task_id = p.task_id AND r.scheduled_for >= p.since AND r.scheduled_for <= p.until
 WHERE r.status IN ('failed', 'timed_out', 'lost', 'missed')
 ORDER BY r.scheduled_for DESC LIMIT (SELECT row_limit FROM parameter);
