-- The story of a task, oldest first; of headers, only what says when it runs.
WITH parameter AS (
  SELECT $1::bigint AS task_id
), newest AS (
  SELECT e.* FROM parameter p JOIN task_event e USING (task_id) ORDER BY e.at DESC, e.event_id DESC LIMIT 20000
)
SELECT event_id, at, actor, kind,
       CASE WHEN before ? 'header' THEN (before - 'header') || jsonb_build_object('header', jsonb_build_object(
         'schedule', before #> '{header,schedule}', 'timezone', before #> '{header,timezone}', 'enabled', before #> '{header,enabled}'))
       ELSE before END AS before,
       CASE WHEN after ? 'header' THEN (after - 'header') || jsonb_build_object('header', jsonb_build_object(
         'schedule', after #> '{header,schedule}', 'timezone', after #> '{header,timezone}', 'enabled', after #> '{header,enabled}'))
       ELSE after END AS after
  FROM newest ORDER BY at, event_id;
