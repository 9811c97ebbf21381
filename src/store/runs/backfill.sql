-- Somebody asks that instants of the past be run: one run each, oldest first, one at a time. Each row's own instant is that of the
-- request, a microsecond further from row to row, and never a whole second: those are the schedule's.
WITH parameter AS (
  SELECT $1::bigint AS task_id, $2::timestamptz[] AS instants, $3::text AS requested_by
), wanted AS MATERIALIZED (
  SELECT t.task_id, t.name, t.queue, t.required_tags, t.script_sha256, p.instants, p.requested_by, clock_timestamp() AS now
    FROM parameter p JOIN task t USING (task_id)
   WHERE t.retired_at IS NULL
     FOR NO KEY UPDATE OF t
), begun AS (
  SELECT w.*, w.now - make_interval(secs => (w.count + CASE WHEN w.fraction < w.count THEN w.fraction + 1 ELSE 0 END) / 1e6) AS begins_at
    FROM (SELECT *, cardinality(instants) AS count, extract(microseconds FROM now)::bigint % 1000000 AS fraction FROM wanted) w
), line AS MATERIALIZED (
  SELECT nextval('run_id_sequence') AS run_id, b.*, i.at, b.begins_at + i.place * interval '1 microsecond' AS scheduled_for
    FROM begun b CROSS JOIN LATERAL (
      SELECT d.at, row_number() OVER (ORDER BY d.at) - 1 AS place
        FROM (SELECT DISTINCT unnest(b.instants) AS at) d
       -- Asked for twice at once: once is enough.
       WHERE NOT EXISTS (SELECT FROM run_lease l WHERE l.task_id = b.task_id AND l.trigger = 'backfill' AND l.as_of = d.at)
       ORDER BY d.at) i
), lease AS (
  INSERT INTO run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags, serial, as_of)
  SELECT run_id, task_id, scheduled_for, 1, 'backfill', 'queued', scheduled_for, queue, required_tags, true, at FROM line
), logged AS (
  INSERT INTO run_log AS r (run_id, task_id, task_name, scheduled_for, trigger, status, as_of, queued_at, due_at, script_sha256, requested_by)
  SELECT run_id, task_id, name, scheduled_for, 'backfill', 'queued', at, now, scheduled_for, script_sha256, requested_by FROM line
  RETURNING r.run_id
), woken AS (
  SELECT pg_notify(current_schema() || '_wake', 'run') FROM wanted
)
SELECT g.run_id FROM logged g, woken ORDER BY g.run_id;
