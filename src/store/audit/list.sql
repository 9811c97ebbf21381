-- What people changed, newest first, from both places where it is written, on from a place in that order.
WITH parameter AS NOT MATERIALIZED (
  SELECT $1::timestamptz AS before_at, $2::text AS before_source, $3::bigint AS before_number, $4::bigint AS row_limit
), entry AS (
  (SELECT a.at, 'audit' AS source, a.audit_id AS number, a.actor, a.address, a.action, a.subject, a.before, a.after
     FROM parameter p, audit a
    WHERE p.before_at IS NULL OR a.at < p.before_at
       OR (a.at = p.before_at AND ('audit', a.audit_id) < (p.before_source, p.before_number))
    ORDER BY a.at DESC, a.audit_id DESC LIMIT (SELECT row_limit FROM parameter))
  UNION ALL
  (SELECT e.at, 'task_event', e.event_id, e.actor, NULL,
          CASE e.kind WHEN 'paused' THEN 'task.pause' WHEN 'resumed' THEN 'task.resume' ELSE 'task.override' END, e.task_name,
          e.before, e.after
     FROM parameter p, task_event e
    WHERE e.kind IN ('paused', 'resumed', 'overridden')
      AND (p.before_at IS NULL OR e.at < p.before_at
           OR (e.at = p.before_at AND ('task_event', e.event_id) < (p.before_source, p.before_number)))
    ORDER BY e.at DESC, e.event_id DESC LIMIT (SELECT row_limit FROM parameter))
)
SELECT at, source, number, actor, address, action, subject, before::text AS before, after::text AS after
  FROM entry ORDER BY at DESC, source DESC, number DESC LIMIT (SELECT row_limit FROM parameter);
