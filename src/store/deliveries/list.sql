-- Deliveries, newest first.
SELECT delivery_id, channel, kind, task_id, task_name, run_id, scheduled_for, attempt, facts::text AS facts, state, attempts,
       next_attempt_at, last_error, created_at, delivered_at
  FROM delivery
 WHERE created_at >= $1::timestamptz
 ORDER BY created_at DESC, delivery_id LIMIT $2::bigint;
