-- A log of 400 days up to now, of 1,000 tasks, and so many rows for each task and day. Statement by statement; `{per_day}` is that
-- number. Of a hundred runs about two fail and one does not take place; every tenth task returns a number.
INSERT INTO script_version (sha256, content) SELECT sha256('run'), 'def run(): return 1';

INSERT INTO node (node_id, kind, host, pid, version, data_directory_id, max_running, lease_until)
VALUES ('00000000-0000-7000-8000-000000000001', 'serve', 'bench', 1, '0', gen_random_uuid(), 32, now() + interval '1 day');

INSERT INTO task (name, source, script_path, script_kind, script_sha256, schedule, timezone, owner, tags, notify_to)
SELECT format('group%s/task%s', n % 20, n), 'directory', format('group%s/task%s.py', n % 20, n), 'source', sha256('run'),
       '{*/30 * * * *}', 'UTC', 'ops', '{bench}', '{ops}'
  FROM generate_series(1, 1000) n;

INSERT INTO task_schedule (task_id, last_fire_at, next_fire_at, next_due_at)
SELECT task_id, now(), now() + interval '1 hour', now() + interval '1 hour' FROM task;

INSERT INTO task_event (task_id, task_name, at, actor, kind, after)
SELECT task_id, name, now() - d * interval '40 days', 'syncer', CASE d WHEN 10 THEN 'created' ELSE 'edited' END,
       jsonb_build_object('script_sha256', encode(sha256(format('run %s', d)::bytea), 'hex'))
  FROM task, generate_series(0, 10) d ORDER BY d DESC;

SELECT ensure_run_log_partition(d) FROM generate_series(now() - interval '400 days', now() + interval '1 month', '10 days') d;

INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, node_id, queued_at, due_at, started_at,
                     finished_at, missed_count, missed_until, return_value, error_type, error, traceback, cpu_ms, max_rss_kb, script_sha256)
SELECT nextval('run_id_sequence'), task_id, name, at, CASE WHEN luck = 10 THEN 'catch_up' ELSE 'schedule' END, status,
       CASE status WHEN 'failed' THEN 'raised' WHEN 'timed_out' THEN 'timeout' WHEN 'missed' THEN 'down' WHEN 'skipped' THEN 'overlap' END,
       '00000000-0000-7000-8000-000000000001', at, at, CASE WHEN runs THEN at + delay END, at + delay + CASE WHEN runs THEN took ELSE '0' END,
       CASE status WHEN 'missed' THEN 1 END, CASE status WHEN 'missed' THEN at END,
       CASE status WHEN 'succeeded' THEN jsonb_build_object('price', luck) END,
       CASE status WHEN 'failed' THEN 'ValueError' END, CASE status WHEN 'failed' THEN 'no price on the page' END,
       CASE status WHEN 'failed' THEN repeat('  File "task.py", line 1, in run' || chr(10), 5) END,
       CASE WHEN runs THEN 20 + luck % 30 END, CASE WHEN runs THEN 9000 + luck END, sha256('run')
  FROM (SELECT t.task_id, t.name, z.d + (n * 86400.0 / {per_day} + t.task_id * 0.05) * interval '1 s' AS at, luck,
               CASE WHEN luck < 15 THEN 'failed' WHEN luck < 18 THEN 'timed_out' WHEN luck < 24 THEN 'missed' WHEN luck < 28 THEN 'skipped'
                    ELSE 'succeeded' END AS status, luck < 18 OR luck >= 28 AS runs,
               CASE WHEN luck > 995 THEN interval '3 s' ELSE luck * interval '5 microseconds' END AS delay,
               (20 + luck) * interval '1 ms' AS took
          FROM generate_series(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '399 days', now() AT TIME ZONE 'UTC', '1 day') AS u(d),
               LATERAL (SELECT u.d AT TIME ZONE 'UTC' AS d) z,
               generate_series(0, {per_day} - 1) n, task t,
               LATERAL (SELECT abs(hashint8(t.task_id * 1000003 + n * 7919 + extract(epoch FROM z.d)::bigint)) % 1000 AS luck) l
         WHERE z.d + (n * 86400.0 / {per_day} + t.task_id * 0.05) * interval '1 s' <= now()
         ORDER BY 3) g;

INSERT INTO observation (task_id, series, at, value, kind, run_id, attempt, judged_at)
SELECT task_id, 'price', scheduled_for, (return_value->>'price')::numeric, 'number', run_id, attempt, now()
  FROM run_log WHERE task_id % 10 = 0 AND status = 'succeeded' ORDER BY scheduled_for;

INSERT INTO observation (task_id, series, at, value, kind, judged_at)
SELECT 1, 'years', date_trunc('day', now()) - n * interval '1 day', n % 100 + 0.5, 'number', now() FROM generate_series(0, 3652) n;

INSERT INTO delivery (channel, kind, task_id, task_name, run_id, scheduled_for, attempt, facts, state, delivered_at, created_at)
SELECT 'ops', 'failed', task_id, task_name, run_id, scheduled_for, attempt, '{}', 'delivered', finished_at, finished_at
  FROM run_log WHERE status = 'failed' AND run_id % 4 = 0 ORDER BY finished_at;

ANALYZE;

INSERT INTO task_stat (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms, last_success_at,
                       consecutive_failures, runs_total, failures_total)
SELECT t.task_id, r.run_id, r.scheduled_for, r.status, r.finished_at, r.duration_ms, s.finished_at,
       CASE WHEN r.status IN ('failed', 'timed_out') THEN 1 ELSE 0 END, {per_day} * 400, {per_day} * 8
  FROM task t
 CROSS JOIN LATERAL (SELECT * FROM run_log r WHERE r.task_id = t.task_id ORDER BY scheduled_for DESC LIMIT 1) r
 CROSS JOIN LATERAL (SELECT * FROM run_log r WHERE r.task_id = t.task_id AND status = 'succeeded' ORDER BY scheduled_for DESC LIMIT 1) s;

SELECT roll_up(d::date) FROM generate_series((now() AT TIME ZONE 'UTC')::date - 399, (now() AT TIME ZONE 'UTC')::date - 1, interval '1 day') d;

VACUUM ANALYZE;
