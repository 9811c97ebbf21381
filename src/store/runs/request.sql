-- Somebody asks for a run now, in a terminal: the function decides, as it does for psql.
SELECT r.run_id, t.task_id, r.scheduled_for, 1::smallint AS attempt, 'manual'::text AS trigger, r.scheduled_for AS due_at, r.as_of,
       r.claimed,
       t.name AS task_name, t.source, t.script_path, t.script_kind, t.script_sha256, t.is_async, t.timeout_seconds, t.grace_seconds,
       t.env, t.secrets, (t.args || coalesce(r.args, '{}'))::text AS args, t.keep_return_value, t.limits::text AS limits,
       t.python, t.requires_python, t.requirements_sha256, t.lock_sha256
  FROM (SELECT $1::bigint AS task_id, $2::text AS requested_by, $3::text::jsonb AS args, $4::timestamptz AS as_of, $5::uuid AS node_id,
               $6::boolean AS force, $7::timestamptz AS now) p
 CROSS JOIN LATERAL (SELECT p.args, p.as_of, q.*
                       FROM request_run(p.task_id, p.requested_by, p.args, p.as_of, p.node_id, p.force, p.now) q) r
  JOIN task t ON t.task_id = p.task_id;
