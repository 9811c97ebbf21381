-- Nodes that were gone before the run log begins, and have nothing in hand.
WITH horizon AS (
  SELECT min(begins_at) AS at FROM partitions() WHERE log = 'run_log'
)
DELETE FROM node n USING horizon h
 WHERE n.state IN ('stopped', 'dead') AND greatest(n.stopped_at, n.heartbeat_at) < h.at
   AND greatest(n.stopped_at, n.heartbeat_at) < clock_timestamp() - make_interval(secs => $1::double precision)
   AND NOT EXISTS (SELECT FROM run_lease l WHERE l.node_id = n.node_id);
