-- Somebody asks for a run now, over the API, by the database's own clock.
SELECT r.run_id
  FROM (SELECT $1::bigint AS task_id, $2::text AS requested_by, $3::text::jsonb AS args, $4::timestamptz AS as_of, $5::boolean AS force) p
 CROSS JOIN LATERAL request_run(p.task_id, p.requested_by, p.args, p.as_of, NULL, p.force, clock_timestamp()) r
  JOIN task t ON t.task_id = p.task_id AND t.retired_at IS NULL;
