-- What became of each of these instants of a task: whether a run of it, or one that stands for it, succeeded or is active, and what
-- the log says of it else. All look-ups are bounded by the instants.
WITH parameter AS (
  SELECT $1::bigint AS task_id, $2::timestamptz[] AS instants
), asked AS MATERIALIZED (
  SELECT p.task_id, i.at FROM parameter p, unnest(p.instants) AS i(at)
), stand_in AS MATERIALIZED (
  SELECT r.as_of AS at, bool_or(r.status = 'succeeded') AS succeeded, bool_or(r.status IN ('queued', 'running')) AS active
    FROM parameter p JOIN run_log r USING (task_id)
   WHERE r.as_of = ANY (p.instants) AND r.scheduled_for >= (SELECT min(at) FROM asked)
   GROUP BY r.as_of
)
SELECT a.at, coalesce(s.succeeded, false) OR coalesce(o.succeeded, false) AS succeeded,
       coalesce(s.active, false) OR coalesce(o.active, false) AS active,
       coalesce(o.status, m.status) AS status, coalesce(o.reason, m.reason) AS reason
  FROM asked a
  LEFT JOIN stand_in s USING (at)
  LEFT JOIN LATERAL (
    SELECT bool_or(r.status = 'succeeded') AS succeeded, bool_or(r.status IN ('queued', 'running')) AS active,
           (array_agg(r.status ORDER BY r.attempt DESC))[1] AS status, (array_agg(r.reason ORDER BY r.attempt DESC))[1] AS reason
      FROM run_log r
     WHERE r.task_id = a.task_id AND r.scheduled_for = a.at AND r.trigger IN ('schedule', 'catch_up')) o ON true
  LEFT JOIN LATERAL (
    SELECT r.status, r.reason
      FROM (SELECT * FROM run_log r
             WHERE r.task_id = a.task_id AND r.scheduled_for < a.at AND r.trigger IN ('schedule', 'catch_up')
             ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1) r
     WHERE r.missed_until >= a.at) m ON o.status IS NULL
 ORDER BY a.at;
