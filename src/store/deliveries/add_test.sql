-- Somebody tries a channel: a delivery that is theirs to send.
WITH parameter AS (
  SELECT $1::text AS channel, $2::jsonb AS facts, $3::uuid AS claimed_by, $4::double precision AS hold_seconds
)
INSERT INTO delivery (channel, kind, facts, attempts, claimed_by, claimed_until)
SELECT channel, 'test', facts, 1, claimed_by, clock_timestamp() + make_interval(secs => hold_seconds) FROM parameter
RETURNING delivery_id, channel, kind, task_name, run_id, scheduled_for, attempt, facts::text AS facts, attempts, created_at;
