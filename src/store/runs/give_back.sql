-- A node that leaves gives back what it claimed and did not start. An instant still ahead returns to its task's cursor, as
-- if nobody had touched it, unless the task was changed since: a cursor that a new definition has placed stays, and the claim
-- is queued. So is what is already due.
WITH parameter AS (
  SELECT $1::uuid AS node_id, $2::bigint[] AS run_ids, $3::timestamptz AS now
), mine AS MATERIALIZED (
  SELECT l.*, l.trigger = 'schedule' AND l.due_at > p.now AND l.attempt = 1
              AND s.last_fire_at IS NOT DISTINCT FROM l.scheduled_for AND t.updated_at < g.queued_at AS untouched
    FROM parameter p JOIN run_lease l ON l.node_id = p.node_id AND l.run_id = ANY (p.run_ids) AND l.state = 'claimed'
    LEFT JOIN task_schedule s ON s.task_id = l.task_id
    LEFT JOIN task t ON t.task_id = l.task_id
    LEFT JOIN run_log g ON g.task_id = l.task_id AND g.scheduled_for = l.scheduled_for AND g.attempt = l.attempt
     FOR UPDATE OF l
), rewound AS (
  UPDATE task_schedule s
     SET next_fire_at = m.scheduled_for, last_fire_at = m.prior_fire_at, next_due_at = m.due_at
    FROM mine m WHERE m.untouched AND s.task_id = m.task_id AND s.last_fire_at = m.scheduled_for
  RETURNING s.task_id
), forgotten AS (
  DELETE FROM run_lease l USING mine m JOIN rewound r USING (task_id) WHERE l.run_id = m.run_id
), unlogged AS (
  DELETE FROM run_log g USING mine m JOIN rewound r USING (task_id)
   WHERE g.task_id = m.task_id AND g.scheduled_for = m.scheduled_for AND g.attempt = m.attempt
), queued AS (
  UPDATE run_lease l SET state = 'queued', node_id = NULL, group_name = NULL, group_slot = NULL
    FROM mine m LEFT JOIN rewound r USING (task_id) WHERE l.run_id = m.run_id AND r.task_id IS NULL
  RETURNING l.run_id, l.task_id, l.scheduled_for, l.attempt
)
UPDATE run_log g SET node_id = NULL FROM queued q
 WHERE g.task_id = q.task_id AND g.scheduled_for = q.scheduled_for AND g.attempt = q.attempt;
