-- A run log for the tasks that are registered: the last ten days as their schedules have it, every five minutes, every hour or every
-- day, and before that a thin one of 390 days, so that there are {rows} rows in all. Statement by statement. Of a thousand runs fifteen
-- fail, one times out, and six do not take place; what is lost is rare and old. Every tenth task returns a number.
SELECT ensure_run_log_partition(d) FROM generate_series(now() - interval '400 days', now() + interval '1 month', '10 days') d;

CREATE TEMPORARY TABLE due AS
WITH paced AS (
  SELECT task_id, name, CASE WHEN schedule[1] LIKE '*/5 %' THEN 300 WHEN schedule[1] LIKE '% * * * *' THEN 3600 ELSE 86400 END AS every_seconds FROM task
), recent AS (
  SELECT task_id, name, now() - interval '1 minute' - n * every_seconds * interval '1 s' AS at
    FROM paced, generate_series(0, 10 * 86400 / every_seconds - 1) n
), old AS (
  SELECT greatest(0, {rows} - (SELECT count(*) FROM recent)) / (SELECT count(*) FROM task) AS each
)
SELECT task_id, name, at, abs(hashint8(task_id * 1000003 + extract(epoch FROM at)::bigint)) % 10000 AS luck
  FROM (SELECT * FROM recent UNION ALL
        SELECT task_id, name, now() - interval '10 days' - n * (interval '390 days' / old.each) FROM old, paced, generate_series(1, old.each) n) d;

INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, started_at, finished_at,
                     missed_count, missed_until, return_value, error_type, error, traceback, cpu_ms, max_rss_kb)
SELECT nextval('run_id_sequence'), task_id, name, at, CASE luck WHEN 500 THEN 'manual' WHEN 501 THEN 'catch_up' ELSE 'schedule' END, status,
       CASE status WHEN 'failed' THEN CASE WHEN luck < 20 THEN 'exited' ELSE 'raised' END WHEN 'timed_out' THEN 'timeout' WHEN 'missed' THEN 'down'
                   WHEN 'skipped' THEN 'overlap' WHEN 'lost' THEN 'node_gone' END,
       at, at, CASE WHEN runs THEN at + interval '2 ms' END, at + interval '2 ms' + CASE WHEN runs THEN (20 + luck / 10) * interval '1 ms' ELSE '0' END,
       CASE status WHEN 'missed' THEN 1 END, CASE status WHEN 'missed' THEN at END,
       CASE status WHEN 'succeeded' THEN jsonb_build_object('price', luck) END,
       CASE status WHEN 'failed' THEN 'ValueError' END, CASE status WHEN 'failed' THEN 'no price on the page' END,
       CASE status WHEN 'failed' THEN repeat('  File "task.py", line 1, in run' || chr(10), 5) END,
       CASE WHEN runs THEN 20 + luck % 30 END, CASE WHEN runs THEN 9000 + luck END
  FROM (SELECT *, CASE WHEN luck < 150 THEN 'failed' WHEN luck < 160 THEN 'timed_out' WHEN luck < 190 THEN 'missed' WHEN luck < 220 THEN 'skipped'
                       WHEN luck = 9999 AND at < now() - interval '200 days' THEN 'lost' ELSE 'succeeded' END AS status,
               luck < 160 OR luck >= 220 AS runs
          FROM due ORDER BY at) g;

INSERT INTO observation (task_id, series, at, value, kind, run_id, attempt, judged_at)
SELECT task_id, 'price', scheduled_for, (return_value->>'price')::numeric, 'number', run_id, attempt, now()
  FROM run_log WHERE task_name LIKE '%0' AND status = 'succeeded' ORDER BY scheduled_for;

INSERT INTO task_stat (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms, last_success_at,
                       consecutive_failures, runs_total, failures_total)
SELECT t.task_id, r.run_id, r.scheduled_for, r.status, r.finished_at, r.duration_ms, r.finished_at,
       CASE WHEN r.status IN ('failed', 'timed_out') THEN 1 ELSE 0 END, 1000, 16
  FROM task t CROSS JOIN LATERAL (SELECT * FROM run_log r WHERE r.task_id = t.task_id ORDER BY scheduled_for DESC LIMIT 1) r
ON CONFLICT DO NOTHING;

VACUUM ANALYZE;
