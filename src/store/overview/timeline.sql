-- What ran between two instants, task by task on from a name, the newest of each; each task's rows are read by the primary key of
-- the log. The array is json: made to be sent at once, it would be jsonb in vain, at twice the price.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::timestamptz AS since, $2::timestamptz AS until, $3::text AS after_name, $4::bigint AS task_limit, $5::bigint AS run_limit
)
SELECT t.task_id, t.name, coalesce(t.planned_schedule, '{}') AS schedule, coalesce(t.planned_timezone, t.timezone) AS timezone,
       s.next_fire_at, r.runs, r.found
  FROM (SELECT t.* FROM parameter p JOIN task t ON p.after_name IS NULL OR t.name > p.after_name
         WHERE t.retired_at IS NULL AND t.source <> 'trial' ORDER BY t.name LIMIT (SELECT task_limit FROM parameter)) t
  LEFT JOIN task_schedule s USING (task_id)
 CROSS JOIN LATERAL (
   SELECT coalesce(json_agg(json_build_object('scheduled_for', n.scheduled_for, 'started_at', n.started_at, 'finished_at', n.finished_at,
                                              'status', n.status, 'run_id', n.run_id, 'missed_until', n.missed_until)
                            ORDER BY n.scheduled_for, n.attempt), '[]')::text AS runs, count(*) AS found
     FROM (SELECT r.scheduled_for, r.started_at, r.finished_at, r.status, r.run_id, r.attempt, r.missed_until
             FROM parameter p JOIN run_log r ON r.task_id = t.task_id
            WHERE r.scheduled_for >= p.since AND r.scheduled_for <= p.until
            ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT (SELECT run_limit FROM parameter)) n) r
 ORDER BY t.name;
