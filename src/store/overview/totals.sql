-- What Prometheus is told of the whole.
SELECT (SELECT count(*) FROM run_lease WHERE state = 'running') AS running,
       (SELECT count(*) FROM run_lease WHERE state = 'queued' AND due_at <= clock_timestamp()) AS queued,
       (SELECT count(*) FROM node WHERE kind = 'serve' AND state = 'live' AND lease_until > clock_timestamp()) AS live_nodes,
       (SELECT count(*) FROM node WHERE kind = 'serve' AND state IN ('live', 'draining') AND lease_until > clock_timestamp()
           AND stalled_loops <> '{}') AS stalled_nodes,
       -- A restart is a new node on the same data directory.
       (SELECT count(DISTINCT gone.data_directory_id) FROM node AS gone
         WHERE gone.kind = 'serve' AND (gone.state = 'dead' OR gone.state IN ('live', 'draining') AND gone.lease_until <= clock_timestamp())
           AND gone.heartbeat_at > clock_timestamp() - interval '1 day'
           AND NOT EXISTS (SELECT FROM node AS later WHERE later.kind = 'serve' AND later.data_directory_id = gone.data_directory_id
                              AND later.started_at > gone.started_at)) AS dead_nodes,
       (SELECT count(*) FROM delivery WHERE state = 'pending') AS pending_deliveries,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(due_at)) FROM run_lease WHERE state = 'queued' AND due_at <= clock_timestamp()), 0)::double precision
         AS oldest_queued_seconds;
