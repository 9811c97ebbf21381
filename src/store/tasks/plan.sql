-- Sets cursors to what the definitions ask for now. A cursor that moved meanwhile, or a newer revision, keeps its row out:
-- the next pass sees it again, and so does one whose row somebody holds: nobody waits for a person's open transaction. A span in which the task stood still becomes one `missed` row.
-- Where the plan in force changes, a task event says after which instant it holds and which change asked for it; a change of
-- code alone leaves none.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
                       $7::double precision[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[],
                       $13::bigint[], $14::timestamptz[], $15::text[])
    AS i(task_id, revision, expected_next, expected_last, next_fire_at, last_fire_at, due_offset_seconds, planned_schedule,
         planned_timezone, planned_idle, planned_problem, span_from, span_count, span_until, span_reason)
), held AS MATERIALIZED (
  SELECT s.task_id FROM input i JOIN task_schedule s USING (task_id)
   ORDER BY s.task_id FOR NO KEY UPDATE OF s SKIP LOCKED
), current AS MATERIALIZED (
  SELECT i.*, t.name, t.updated_at, CASE WHEN t.planned_schedule IS NOT NULL THEN
           jsonb_build_object('schedule', t.planned_schedule, 'timezone', t.planned_timezone, 'idle', t.planned_idle,
                              'problem', t.planned_problem) END AS was,
         jsonb_build_object('schedule', i.planned_schedule::jsonb, 'timezone', i.planned_timezone, 'idle', i.planned_idle,
                            'problem', i.planned_problem) AS becomes
    FROM input i JOIN task t ON t.task_id = i.task_id AND t.revision = i.revision
   WHERE i.task_id IN (SELECT task_id FROM held)
      OR NOT EXISTS (SELECT 1 FROM task_schedule s WHERE s.task_id = i.task_id)
   ORDER BY i.task_id FOR NO KEY UPDATE OF t SKIP LOCKED
), placed AS (
  INSERT INTO task_schedule AS s (task_id, next_fire_at, next_due_at, last_fire_at, due_offset_seconds, planned_revision)
  SELECT task_id, next_fire_at, next_fire_at + make_interval(secs => due_offset_seconds), last_fire_at, due_offset_seconds,
         revision
    FROM current
  ON CONFLICT (task_id) DO UPDATE
     SET next_fire_at = excluded.next_fire_at, next_due_at = excluded.next_due_at, last_fire_at = excluded.last_fire_at,
         due_offset_seconds = excluded.due_offset_seconds, planned_revision = excluded.planned_revision
   WHERE EXISTS (SELECT 1 FROM current c WHERE c.task_id = s.task_id
                    AND c.expected_next IS NOT DISTINCT FROM s.next_fire_at
                    AND c.expected_last IS NOT DISTINCT FROM s.last_fire_at)
  RETURNING s.task_id
), spans AS (
  INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, finished_at,
                       missed_count, missed_until)
  SELECT nextval('run_id_sequence'), c.task_id, c.name, c.span_from, 'schedule', 'missed', c.span_reason, clock_timestamp(),
         c.span_from, clock_timestamp(), c.span_count, c.span_until
    FROM current c JOIN placed p USING (task_id)
   WHERE c.span_count > 0
  ON CONFLICT DO NOTHING
), told AS (
  INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
  SELECT c.task_id, c.name, 'planner', 'planned', c.was,
         c.becomes || jsonb_build_object('holds_after', c.last_fire_at, 'cause', e.event_id)
    FROM current c JOIN placed p USING (task_id)
    LEFT JOIN LATERAL (SELECT e.event_id FROM task_event e
                        WHERE e.task_id = c.task_id AND e.at >= c.updated_at
                          AND e.kind NOT IN ('planned', 'renamed', 'problem', 'environment')
                        ORDER BY e.at, e.event_id LIMIT 1) e ON true
   WHERE c.becomes IS DISTINCT FROM c.was
)
UPDATE task t
   SET planned_revision = c.revision,
       planned_schedule = ARRAY(SELECT jsonb_array_elements_text(c.planned_schedule::jsonb)),
       planned_timezone = c.planned_timezone, planned_idle = c.planned_idle, planned_problem = c.planned_problem
  FROM current c JOIN placed p USING (task_id)
 WHERE t.task_id = c.task_id
RETURNING t.task_id;
