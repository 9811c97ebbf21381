-- A new incarnation. It counts as attending from the start of the oldest node that is alive now. A predecessor on the same
-- data directory is not alive, however young its heartbeat: this process holds its lock. One that drains fires nothing.
WITH parameter AS (
  SELECT $1::uuid AS node_id, $2::text AS kind, $3::text AS host, $4::integer AS pid, $5::text AS version,
         $6::uuid AS data_directory_id, $7::text[] AS queues, $8::text[] AS tags, $9::integer AS max_running,
         $10::double precision AS lease_seconds, $11::text AS python
), entered AS (
  INSERT INTO node (node_id, kind, host, pid, version, data_directory_id, queues, tags, max_running, lease_until, python)
  SELECT node_id, kind, host, pid, version, data_directory_id, queues, tags, max_running,
         clock_timestamp() + make_interval(secs => lease_seconds), python
  FROM parameter
  RETURNING connected_since
)
SELECT clock_timestamp() AS now, e.connected_since,
       least(e.connected_since, (SELECT min(n.connected_since) FROM node n
                                  WHERE n.kind = 'serve' AND n.state = 'live' AND n.lease_until > clock_timestamp()
                                    AND NOT (n.data_directory_id = p.data_directory_id AND n.host = p.host))) AS attended_since,
       (SELECT count(*) FROM node n WHERE n.kind = 'serve' AND n.state = 'live' AND n.lease_until > clock_timestamp()) AS live_nodes
FROM entered e, parameter p;
