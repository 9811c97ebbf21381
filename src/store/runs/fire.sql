-- Consumes due instants at or after their time. For each task the cursor moves from `expected` to `next_fire_at`, and for
-- each of its rows the run log gets its line: a run that is claimed at once, queued or kept waiting, or one that is skipped
-- or missed. A plan that is no longer in force moves nothing. Whether a run may start beside others of its task is decided here, by slots, and enforced by a unique index.
WITH move AS (
  SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
    AS i(task_id, expected, next_fire_at, last_fire_at, planned_revision)
), line AS (
  SELECT * FROM unnest($6::bigint[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[],
                       $13::bigint[], $14::timestamptz[], $15::boolean[])
    AS i(task_id, scheduled_for, due_at, trigger, status, reason, detail, missed_count, missed_until, serial)
), parameter AS (
  SELECT $16::uuid AS node_id, $17::timestamptz AS now, $18::double precision AS error_seconds, $19::integer AS claim_limit
), due AS MATERIALIZED (
  SELECT s.task_id, s.last_fire_at AS prior_fire_at, m.next_fire_at, m.last_fire_at
    FROM move m
    JOIN parameter p ON p.now <= clock_timestamp() + make_interval(secs => p.error_seconds)
    JOIN task_schedule s ON s.task_id = m.task_id AND CASE WHEN s.next_fire_at = m.expected THEN true END
                        AND s.planned_revision = m.planned_revision
    JOIN task t ON t.task_id = m.task_id AND t.planned_revision = m.planned_revision
               AND (t.revision = t.planned_revision OR m.last_fire_at <= t.updated_at)
   WHERE EXISTS (SELECT 1 FROM node n WHERE n.node_id = p.node_id AND n.state = 'live' AND n.lease_until > clock_timestamp())
   ORDER BY s.task_id
     FOR NO KEY UPDATE OF s SKIP LOCKED
), moved AS (
  UPDATE task_schedule s
     SET next_fire_at = d.next_fire_at, last_fire_at = d.last_fire_at,
         next_due_at = d.next_fire_at + make_interval(secs => s.due_offset_seconds)
    FROM due d WHERE s.task_id = d.task_id
  RETURNING s.task_id
), wanted AS MATERIALIZED (
  SELECT nextval('run_id_sequence') AS run_id, i.*, t.name, t.queue, t.required_tags, t.overlap, t.max_running,
         t.concurrency_group, t.script_sha256, d.prior_fire_at, p.node_id, p.now, p.claim_limit,
         row_number() OVER (PARTITION BY i.task_id, i.status, i.serial ORDER BY i.scheduled_for) AS place
    FROM moved m JOIN due d USING (task_id) JOIN line i USING (task_id) JOIN task t USING (task_id), parameter p
), free AS (
  SELECT w.task_id, g.slot, row_number() OVER (PARTITION BY w.task_id ORDER BY g.slot) AS place
    FROM (SELECT DISTINCT task_id, max_running FROM wanted WHERE status = 'queued') w
    CROSS JOIN LATERAL generate_series(1, w.max_running::integer) AS g(slot)
   WHERE NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot = g.slot)
     AND NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot IS NULL AND NOT l.exempt AND NOT l.serial AND l.attempt = 1)
), decided AS MATERIALIZED (
  SELECT w.*, f.slot,
         CASE WHEN w.status <> 'queued' THEN 'record'
              WHEN w.serial THEN 'wait'
              WHEN f.slot IS NOT NULL THEN 'start'
              WHEN (w.overlap IN ('queue', 'replace')
                    -- What somebody backfills turns no instant away: it waits for the run that has its place, or for one that had to wait itself.
                    OR EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.trigger = 'backfill' AND l.cancel_requested_at IS NULL))
                   AND w.place = 1 + (SELECT count(*) FROM free x WHERE x.task_id = w.task_id)
                   AND (w.overlap = 'replace' OR NOT EXISTS
                        (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot IS NULL AND NOT l.exempt AND NOT l.serial AND l.attempt = 1)) THEN 'wait'
              ELSE 'skip' END AS verdict
    FROM wanted w LEFT JOIN free f ON f.task_id = w.task_id AND f.place = w.place AND w.status = 'queued' AND NOT w.serial
), ranked AS MATERIALIZED (
  SELECT d.*, d.verdict = 'start' AND d.concurrency_group IS NULL
              AND row_number() OVER (PARTITION BY d.verdict, d.concurrency_group IS NULL
                                     ORDER BY d.due_at, d.run_id) <= d.claim_limit AS claimed
    FROM decided d
), replaced AS (
  UPDATE run_lease l SET cancel_requested_at = r.now, cancel_requested_by = 'run ' || r.run_id, cancel_reason = 'replaced'
    FROM ranked r
   WHERE r.verdict = 'wait' AND NOT r.serial AND r.overlap = 'replace' AND l.task_id = r.task_id
     AND NOT l.serial AND NOT l.exempt AND l.cancel_requested_at IS NULL
), superseded AS (
  -- A retry that still waits for its pause to end is needless now.
  DELETE FROM run_lease l USING ranked r
   WHERE r.verdict IN ('start', 'wait') AND l.task_id = r.task_id AND l.state = 'queued' AND l.attempt > 1 AND l.slot IS NULL
     AND l.trigger <> 'backfill'
  RETURNING l.task_id, l.scheduled_for, l.attempt, r.run_id AS newer_run_id, r.now
), unwanted AS (
  UPDATE run_log g SET status = 'skipped', reason = 'superseded', finished_at = s.now,
         detail = format('run %s came before the end of its pause', s.newer_run_id)
    FROM superseded s
   WHERE g.task_id = s.task_id AND g.scheduled_for = s.scheduled_for AND g.attempt = s.attempt AND g.status = 'queued'
), given_up AS (
  -- The attempt before it was the last one of its instant then.
  SELECT count_dropped(array_agg(task_id), array_agg(scheduled_for), array_agg(attempt)) FROM superseded HAVING count(*) > 0
), lease AS (
  INSERT INTO run_lease AS l (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags,
                              node_id, slot, serial, prior_fire_at)
  SELECT run_id, task_id, scheduled_for, 1, trigger, CASE WHEN claimed THEN 'claimed' ELSE 'queued' END, due_at, queue,
         required_tags, CASE WHEN claimed THEN node_id END, slot, serial, prior_fire_at
    FROM ranked WHERE verdict IN ('start', 'wait')
  RETURNING l.run_id
), logged AS (
  INSERT INTO run_log AS r (run_id, task_id, task_name, scheduled_for, trigger, status, reason, detail, node_id, queued_at,
                            due_at, finished_at, missed_count, missed_until, blocking_run_id, script_sha256)
  SELECT k.run_id, k.task_id, k.name, k.scheduled_for, k.trigger,
         CASE k.verdict WHEN 'skip' THEN 'skipped' ELSE k.status END,
         CASE k.verdict WHEN 'skip' THEN 'overlap' ELSE k.reason END,
         CASE WHEN k.verdict = 'skip' AND b.run_id IS NOT NULL THEN format('run %s was still %s', b.run_id, b.state)
              ELSE k.detail END,
         CASE WHEN k.claimed OR k.verdict IN ('skip', 'record') THEN k.node_id END,
         k.now, k.due_at, CASE WHEN k.verdict IN ('skip', 'record') THEN k.now END,
         k.missed_count, k.missed_until, CASE WHEN k.verdict = 'skip' THEN b.run_id END,
         CASE WHEN k.verdict IN ('start', 'wait') THEN k.script_sha256 END
    FROM ranked k
    LEFT JOIN LATERAL (SELECT l.run_id, CASE l.state WHEN 'claimed' THEN 'starting' ELSE l.state END AS state
                         FROM run_lease l WHERE l.task_id = k.task_id AND k.verdict = 'skip'
                          AND (l.slot IS NOT NULL OR (NOT l.exempt AND NOT l.serial AND l.attempt = 1))
                        UNION ALL
                       SELECT o.run_id, 'queued' FROM ranked o WHERE o.task_id = k.task_id AND k.verdict = 'skip'
                          AND o.verdict IN ('start', 'wait') AND NOT o.serial
                        ORDER BY 1 LIMIT 1) b ON true
  RETURNING r.run_id, r.task_id, r.scheduled_for, r.trigger, r.due_at, r.status, r.reason
), told AS (
  SELECT add_deliveries(array_agg('missed'::text), array_agg(task_id), array_agg(run_id), array_agg(scheduled_for), NULL)
    FROM logged WHERE (status, reason) IN (('missed', 'down'), ('missed', 'limit'), ('skipped', 'grace')) HAVING count(*) > 0
)
-- What nothing reads is not done: hence the counts.
SELECT g.run_id, g.task_id, g.scheduled_for, 1::smallint AS attempt, g.trigger, g.due_at, NULL::timestamptz AS as_of, k.claimed,
       t.name AS task_name, t.source, t.script_path, t.script_kind, t.script_sha256, t.is_async, t.timeout_seconds, t.grace_seconds,
       t.env, t.secrets, t.args::text AS args, t.keep_return_value, t.limits::text AS limits,
       t.python, t.requires_python, t.requirements_sha256, t.lock_sha256,
       (SELECT count(*) FROM given_up) AS given_up, (SELECT count(*) FROM told) AS told
  FROM logged g JOIN ranked k USING (run_id) JOIN task t ON t.task_id = g.task_id
 ORDER BY g.due_at, g.run_id;
