-- Takes a task's next instant a moment before it is due: only while no run of the task is active, so that nothing about
-- overlap is decided before its time, and only by a plan that is still in force. One statement moves the cursor, takes the slot and writes the row.
-- CASE in the compare keeps the planner's row estimate honest; a plain one is estimated as a single row.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
    AS i(task_id, scheduled_for, due_at, next_fire_at, planned_revision)
), parameter AS (
  SELECT $6::uuid AS node_id, $7::timestamptz AS now, $8::double precision AS lead_seconds,
         $9::double precision AS error_seconds
), due AS MATERIALIZED (
  SELECT s.task_id, s.last_fire_at, i.scheduled_for, i.due_at, i.next_fire_at, i.planned_revision, p.node_id, p.now
    FROM input i
    JOIN parameter p ON i.due_at <= p.now + make_interval(secs => p.lead_seconds)
                    AND p.now <= clock_timestamp() + make_interval(secs => p.error_seconds)
    JOIN task_schedule s ON s.task_id = i.task_id AND CASE WHEN s.next_fire_at = i.scheduled_for THEN true END
                        AND s.planned_revision = i.planned_revision
   WHERE EXISTS (SELECT 1 FROM node n WHERE n.node_id = p.node_id AND n.state = 'live' AND n.lease_until > clock_timestamp())
     AND NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = i.task_id)
   ORDER BY s.task_id
     FOR NO KEY UPDATE OF s SKIP LOCKED
), lease AS (
  INSERT INTO run_lease AS l (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags,
                              node_id, slot, prior_fire_at)
  SELECT nextval('run_id_sequence'), d.task_id, d.scheduled_for, 1, 'schedule', 'claimed', d.due_at, t.queue,
         t.required_tags, d.node_id, 1, d.last_fire_at
    FROM due d JOIN task t USING (task_id)
   WHERE t.retired_at IS NULL AND t.revision = t.planned_revision AND t.planned_revision = d.planned_revision AND t.concurrency_group IS NULL
  ON CONFLICT DO NOTHING
  RETURNING l.run_id, l.task_id
), moved AS (
  UPDATE task_schedule s
     SET next_fire_at = d.next_fire_at, last_fire_at = d.scheduled_for,
         next_due_at = d.next_fire_at + make_interval(secs => s.due_offset_seconds)
    FROM due d JOIN lease l USING (task_id) WHERE s.task_id = d.task_id
  RETURNING s.task_id
), logged AS (
  INSERT INTO run_log AS r (run_id, task_id, task_name, scheduled_for, trigger, status, node_id, queued_at, due_at, script_sha256)
  SELECT l.run_id, t.task_id, t.name, d.scheduled_for, 'schedule', 'queued', d.node_id, d.now, d.due_at, t.script_sha256
    FROM due d JOIN lease l USING (task_id) JOIN moved m USING (task_id) JOIN task t USING (task_id)
  RETURNING r.run_id, r.task_id, r.scheduled_for, r.due_at
)
SELECT g.run_id, g.task_id, g.scheduled_for, 1::smallint AS attempt, 'schedule'::text AS trigger, g.due_at, NULL::timestamptz AS as_of,
       t.name AS task_name, t.source, t.script_path, t.script_kind, t.script_sha256, t.is_async, t.timeout_seconds, t.grace_seconds,
       t.env, t.secrets, t.args::text AS args, t.keep_return_value, t.limits::text AS limits,
       t.python, t.requires_python, t.requirements_sha256, t.lock_sha256
  FROM logged g JOIN task t USING (task_id);
