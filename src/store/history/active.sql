-- Runs in flight of a task and of its concurrency group: what another run of it waits for.
WITH parameter AS (
  SELECT $1::bigint AS task_id
)
SELECT l.run_id, o.name AS task_name, l.task_id = t.task_id AS is_own, l.state, l.trigger IN ('catch_up', 'backfill') AS is_catch_up, l.due_at,
       l.slot IS NOT NULL AS holds_slot, l.group_slot IS NOT NULL AND l.group_name = t.concurrency_group AS holds_group_slot, l.exempt,
       CASE WHEN n.node_id IS NOT NULL THEN format('%s (pid %s)', n.host, n.pid) END AS node,
       CASE WHEN l.cancel_requested_at IS NOT NULL THEN coalesce(l.cancel_requested_by, 'somebody') END AS cancel_requested_by
  FROM parameter p JOIN task t USING (task_id)
  JOIN run_lease l ON l.task_id = t.task_id OR l.group_name = t.concurrency_group
  JOIN task o ON o.task_id = l.task_id
  LEFT JOIN node n ON n.node_id = l.node_id
 ORDER BY l.run_id LIMIT 1000;
