-- Writes that runs were let go: for those that live longer than a moment.
WITH input AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::smallint[], $5::timestamptz[])
    AS i(run_id, task_id, scheduled_for, attempt, started_at)
), parameter AS (
  SELECT $6::uuid AS node_id
), leased AS (
  UPDATE run_lease l SET state = 'running' FROM input i, parameter p
   WHERE l.run_id = i.run_id AND l.node_id = p.node_id AND l.state = 'claimed'
)
UPDATE run_log r SET status = 'running', started_at = i.started_at
  FROM input i, parameter p
 WHERE r.task_id = i.task_id AND r.scheduled_for = i.scheduled_for AND r.attempt = i.attempt
   AND r.node_id = p.node_id AND r.status = 'queued'
   AND r.scheduled_for BETWEEN $7::timestamptz AND $8::timestamptz;
