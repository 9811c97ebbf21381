-- Channels that tasks name and that are not among these, with one of the tasks each.
WITH parameter AS (
  SELECT $1::text[] AS known
)
SELECT c.channel, min(t.name) AS task_name
  FROM parameter p, task t CROSS JOIN LATERAL unnest(t.notify_to) AS c(channel)
 WHERE t.retired_at IS NULL AND c.channel <> ALL (p.known)
 GROUP BY c.channel ORDER BY c.channel LIMIT 100;
