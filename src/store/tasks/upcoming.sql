-- Instants that are due soon, in order, read from a low watermark: an open transaction elsewhere must not make this slow.
WITH parameter AS (
  SELECT $1::text[] AS queues, $2::text[] AS tags
)
SELECT s.task_id, s.next_fire_at, s.next_due_at, s.due_offset_seconds, t.planned_revision, t.revision <> t.planned_revision AS changing,
       t.updated_at AS changed_at, t.queue = ANY (p.queues) AND t.required_tags <@ p.tags AS served,
       t.concurrency_group IS NOT NULL AS grouped
  FROM parameter p, task_schedule s JOIN task t USING (task_id)
 WHERE s.next_due_at >= $3::timestamptz AND s.next_due_at <= $4::timestamptz
 ORDER BY s.next_due_at, s.task_id LIMIT $5::bigint;
