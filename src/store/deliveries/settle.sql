-- Writes how a try went, if whoever tried still holds the delivery. One that failed is tried again after a pause, unless that
-- would be too long after its making, or it is not to be tried again at all (no pause).
WITH parameter AS (
  SELECT $1::uuid AS delivery_id, $2::uuid AS claimed_by, $3::text AS error, $4::double precision AS pause_seconds,
         $5::double precision AS patience_seconds
)
UPDATE delivery d
   SET state = CASE WHEN p.error IS NULL THEN 'delivered'
                    WHEN p.pause_seconds IS NULL
                         OR clock_timestamp() + make_interval(secs => p.pause_seconds - p.patience_seconds) > d.created_at
                      THEN 'given_up' ELSE 'pending' END,
       delivered_at = CASE WHEN p.error IS NULL THEN clock_timestamp() END,
       last_error = p.error, claimed_until = NULL,
       next_attempt_at = clock_timestamp() + make_interval(secs => coalesce(p.pause_seconds, 0))
  FROM parameter p
 WHERE d.delivery_id = p.delivery_id AND d.claimed_by = p.claimed_by AND d.state = 'pending'
RETURNING d.state;
