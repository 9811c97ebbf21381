-- What a node is asked to stop.
SELECT run_id, coalesce(cancel_reason, 'requested') AS cancel_reason FROM run_lease
 WHERE node_id = $1 AND cancel_requested_at IS NOT NULL;
