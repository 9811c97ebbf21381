-- Deliveries that are settled and older than runs are kept: so many, the oldest first.
WITH chosen AS MATERIALIZED (
  SELECT d.delivery_id FROM delivery d
   WHERE d.created_at < clock_timestamp() - make_interval(secs => $1::double precision) AND d.state <> 'pending'
   ORDER BY d.created_at LIMIT $2::bigint
)
DELETE FROM delivery d USING chosen c WHERE d.delivery_id = c.delivery_id;
