-- Nodes that are gone: those whose lease has ended, judged only by a node in unbroken contact for a whole lease; and, at
-- once, earlier ones of the same data directory on this host, whose lock
-- their successor holds (the host is compared because a data directory may have been copied to another machine).
WITH parameter AS (
  SELECT $1::uuid AS node_id, $2::double precision AS lease_seconds, $3::uuid AS data_directory_id, $4::text AS host
), judge AS (
  SELECT 1 FROM node n, parameter p
   WHERE n.node_id = p.node_id AND n.state IN ('live', 'draining') AND n.lease_until > clock_timestamp()
     AND n.connected_since < clock_timestamp() - make_interval(secs => p.lease_seconds)
)
UPDATE node n SET state = 'dead', stopped_at = clock_timestamp()
  FROM parameter p
 WHERE n.state IN ('live', 'draining') AND n.node_id <> p.node_id
   AND ((n.lease_until < clock_timestamp() AND EXISTS (SELECT 1 FROM judge))
        OR (n.kind = 'serve' AND n.data_directory_id = p.data_directory_id AND n.host = p.host))
RETURNING n.node_id;
