-- Leaves in order.
UPDATE node SET state = 'stopped', stopped_at = clock_timestamp()
WHERE node_id = $1 AND state IN ('live', 'draining');
