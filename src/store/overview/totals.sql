-- What Prometheus is told of the whole.
SELECT (SELECT count(*) FROM run_lease WHERE state = 'running') AS running,
       (SELECT count(*) FROM run_lease WHERE state = 'queued' AND due_at <= clock_timestamp()) AS queued,
       (SELECT count(*) FROM node WHERE kind = 'serve' AND state = 'live' AND lease_until > clock_timestamp()) AS live_nodes,
       (SELECT count(*) FROM delivery WHERE state = 'pending') AS pending_deliveries,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(due_at)) FROM run_lease WHERE state = 'queued' AND due_at <= clock_timestamp()), 0)::double precision
         AS oldest_queued_seconds;
