-- Takes the next delivery of each of these channels that is due and that nobody else sends. Those of one task reach a channel in
-- their order: "recovered" must not overtake a "failed" that has to be sent again.
WITH parameter AS (
  SELECT $1::text[] AS channels, $2::uuid AS claimed_by, $3::double precision AS hold_seconds
), chosen AS MATERIALIZED (
  SELECT d.delivery_id, p.claimed_by, p.hold_seconds
    FROM parameter p CROSS JOIN LATERAL unnest(p.channels) AS c(channel)
    CROSS JOIN LATERAL (
      SELECT d.delivery_id FROM delivery d
       WHERE d.channel = c.channel AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
         AND (d.claimed_until IS NULL OR d.claimed_until < clock_timestamp())
         AND NOT EXISTS (SELECT 1 FROM delivery o
                          WHERE o.channel = d.channel AND o.state = 'pending' AND o.task_id = d.task_id
                            AND (o.created_at, o.delivery_id) < (d.created_at, d.delivery_id))
       ORDER BY d.next_attempt_at LIMIT 1
         FOR UPDATE SKIP LOCKED) d
)
UPDATE delivery d
   SET claimed_by = c.claimed_by, claimed_until = clock_timestamp() + make_interval(secs => c.hold_seconds),
       attempts = d.attempts + 1
  FROM chosen c
 WHERE d.delivery_id = c.delivery_id
RETURNING d.delivery_id, d.channel, d.kind, d.task_name, d.run_id, d.scheduled_for, d.attempt, d.facts::text AS facts,
          d.attempts, d.created_at;
