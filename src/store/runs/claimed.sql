-- What a node has claimed and not reported as started.
SELECT run_id FROM run_lease WHERE node_id = $1 AND state = 'claimed';
