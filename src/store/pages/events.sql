-- What happened to a task, newest first, on from an event.
WITH parameter AS NOT MATERIALIZED (SELECT $1::bigint AS task_id, $2::bigint AS before_id, $3::bigint AS row_limit)
SELECT e.event_id, e.at, e.actor, e.kind, e.before::text AS before, e.after::text AS after
  FROM parameter p JOIN task_event e USING (task_id)
 WHERE p.before_id IS NULL OR e.event_id < p.before_id
 ORDER BY e.event_id DESC LIMIT (SELECT row_limit FROM parameter);
