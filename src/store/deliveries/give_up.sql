-- Gives up what no node has sent for too long, such as that of a channel that none of them knows.
WITH parameter AS (
  SELECT $1::double precision AS patience_seconds
)
UPDATE delivery d
   SET state = 'given_up', last_error = coalesce(d.last_error, format('no running node knows the channel `%s`', d.channel))
  FROM parameter p
 WHERE d.state = 'pending' AND d.created_at < clock_timestamp() - make_interval(secs => p.patience_seconds)
   AND (d.claimed_until IS NULL OR d.claimed_until < clock_timestamp())
RETURNING d.delivery_id;
