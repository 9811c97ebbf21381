-- Takes queued runs in the order in which they were due, as many as the node has places for. A run that waits for a slot
-- of its task or group is taken when there is one, the oldest of its task first; what is made up for runs one at a time,
-- whatever the task's limit, and after what waits in its own time. A forced run takes no slot, of its group neither. MATERIALIZED is a fence: without it more rows than LIMIT may be locked.
WITH parameter AS (
  SELECT $1::uuid AS node_id, $2::text[] AS queues, $3::text[] AS tags, $4::timestamptz AS now
), candidate AS MATERIALIZED (
  SELECT l.run_id, l.task_id, l.due_at, l.slot, l.exempt, t.max_running, t.concurrency_group
    FROM parameter p, run_lease l JOIN task t USING (task_id)
   WHERE l.state = 'queued' AND l.due_at <= p.now AND l.queue = ANY (p.queues) AND l.required_tags <@ p.tags
     AND l.cancel_requested_at IS NULL AND t.retired_at IS NULL
     AND EXISTS (SELECT 1 FROM node n WHERE n.node_id = p.node_id AND n.state = 'live' AND n.lease_until > clock_timestamp())
     AND (l.slot IS NOT NULL OR l.exempt
          OR (SELECT count(*) FROM run_lease o WHERE o.task_id = l.task_id AND o.slot IS NOT NULL) < t.max_running)
     AND (t.concurrency_group IS NULL OR l.exempt
          OR (SELECT count(*) FROM run_lease o WHERE o.group_name = t.concurrency_group AND o.group_slot IS NOT NULL)
             < coalesce((SELECT c.max_running FROM concurrency_group c WHERE c.group_name = t.concurrency_group), 1))
     AND (l.slot IS NOT NULL OR l.exempt OR NOT EXISTS
          (SELECT 1 FROM run_lease o WHERE o.task_id = l.task_id AND o.state = 'queued' AND o.slot IS NULL AND NOT o.exempt
              AND o.cancel_requested_at IS NULL AND o.due_at <= p.now
              AND (o.serial, o.due_at, o.run_id) < (l.serial, l.due_at, l.run_id)))
     AND (l.trigger NOT IN ('catch_up', 'backfill') OR NOT EXISTS
          (SELECT 1 FROM run_lease o WHERE o.task_id = l.task_id AND o.trigger IN ('catch_up', 'backfill') AND o.state <> 'queued'))
   ORDER BY l.due_at, l.run_id LIMIT $5::bigint
     FOR UPDATE OF l SKIP LOCKED
), ranked AS (
  SELECT c.*,
         row_number() OVER (PARTITION BY c.task_id, c.slot IS NULL, c.exempt ORDER BY c.due_at, c.run_id) AS place,
         row_number() OVER (PARTITION BY c.concurrency_group, c.exempt ORDER BY c.due_at, c.run_id) AS group_place
    FROM candidate c
), placed AS (
  SELECT r.run_id, coalesce(r.slot, f.slot) AS slot, r.concurrency_group, g.slot AS group_slot
    FROM ranked r
    LEFT JOIN LATERAL (
      SELECT s AS slot, row_number() OVER (ORDER BY s) AS place FROM generate_series(1, r.max_running::integer) AS s
       WHERE NOT EXISTS (SELECT 1 FROM run_lease x WHERE x.task_id = r.task_id AND x.slot = s)) f
      ON r.slot IS NULL AND NOT r.exempt AND f.place = r.place
    LEFT JOIN LATERAL (
      SELECT s AS slot, row_number() OVER (ORDER BY s) AS place
        FROM generate_series(1, coalesce((SELECT c.max_running FROM concurrency_group c
                                           WHERE c.group_name = r.concurrency_group), 1)::integer) AS s
       WHERE NOT EXISTS (SELECT 1 FROM run_lease x WHERE x.group_name = r.concurrency_group AND x.group_slot = s)) g
      ON r.concurrency_group IS NOT NULL AND NOT r.exempt AND g.place = r.group_place
   WHERE (r.slot IS NOT NULL OR r.exempt OR f.slot IS NOT NULL) AND (r.concurrency_group IS NULL OR r.exempt OR g.slot IS NOT NULL)
), taken AS (
  UPDATE run_lease l
     SET state = 'claimed', node_id = p.node_id, slot = placed.slot,
         group_name = CASE WHEN placed.group_slot IS NOT NULL THEN placed.concurrency_group END, group_slot = placed.group_slot
    FROM placed, parameter p WHERE l.run_id = placed.run_id
  RETURNING l.run_id, l.task_id, l.scheduled_for, l.attempt, l.trigger, l.due_at, l.as_of, l.args, l.node_id, l.script_sha256
), logged AS (
  UPDATE run_log r SET node_id = k.node_id, script_sha256 = coalesce(k.script_sha256, t.script_sha256)
    FROM taken k JOIN task t USING (task_id)
   WHERE r.task_id = k.task_id AND r.scheduled_for = k.scheduled_for AND r.attempt = k.attempt
)
SELECT k.run_id, k.task_id, k.scheduled_for, k.attempt, k.trigger, k.due_at, k.as_of,
       t.name AS task_name, t.source, t.script_path, t.script_kind, coalesce(k.script_sha256, t.script_sha256) AS script_sha256,
       t.is_async, t.timeout_seconds, t.grace_seconds,
       t.env, t.secrets, (t.args || coalesce(k.args, '{}'))::text AS args, t.keep_return_value, t.limits::text AS limits,
       t.python, t.requires_python, t.requirements_sha256, t.lock_sha256
  FROM taken k JOIN task t USING (task_id)
 ORDER BY k.due_at, k.run_id;
