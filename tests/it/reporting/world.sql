-- What docs/reporting.md reports on: five days in March 2026, what waits now, and a failure of today.
SET timezone = 'UTC';
SELECT ensure_run_log_partition('2026-03-01'), ensure_run_log_partition(now()), ensure_run_output_partition('2026-03-06');

INSERT INTO script_version (sha256, content, first_seen_at)
SELECT sha256(text::bytea), text::bytea, at::timestamptz
  FROM (VALUES ('def run(): ...', '2026-03-01 09:00'), ('def run(): # thorough', '2026-03-05 10:12')) v(text, at);

INSERT INTO node (node_id, kind, host, pid, version, data_directory_id, max_running, state, started_at, connected_since, heartbeat_at,
                  lease_until, stopped_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'serve', 'mars', 417, '0.1.0', '00000000-0000-4000-8000-000000000001', 32, 'dead',
        '2026-03-01 08:00', '2026-03-01 08:00', '2026-03-05 01:12', '2026-03-05 01:12:30', '2026-03-05 14:31'),
       ('00000000-0000-7000-8000-000000000002', 'serve', 'venus', 902, '0.1.0', '00000000-0000-4000-8000-000000000002', 32, 'live',
        '2026-03-05 14:30', '2026-03-05 14:30', now(), now() + interval '30 s', NULL);

INSERT INTO task (task_id, name, source, script_path, script_kind, script_sha256, schedule, timezone, owner, description, notify_to,
                  overlap, expectations, problem, paused_at, paused_by, paused_reason, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT task_id, name, 'directory', name || '.py', 'source', sha256(version::bytea), schedule::text[], zone, owner, description,
       notify::text[], 'skip', expectations::jsonb, problem, paused_at::timestamptz, paused_by, reason, '2026-03-01 09:00', '2026-03-01 09:00'
  FROM (VALUES
    (1, 'backup', 'def run(): # thorough', '{30 2 * * *}', 'Europe/Berlin', 'ops', 'Dumps the shop', '{ops}', '[]', NULL, NULL, NULL, NULL),
    (2, 'prices/btc', 'def run(): ...', '{0 */6 * * *}', 'UTC', 'ada', 'What a coin costs', '{}',
        '[{"series": "price", "unit": "EUR", "max": 100000}]', NULL, NULL, NULL, NULL),
    (3, 'sync/orders', 'def run(): ...', '{0 4 * * *}', 'UTC', 'shop', 'Orders to the ledger', '{ops}', '[]', NULL, NULL, NULL, NULL),
    (4, 'report/weekly', 'def run(): ...', '{}', 'UTC', 'ada', 'Figures for the meeting', '{}', '[]', NULL, NULL, NULL, NULL),
    (5, 'legacy/import', 'def run(): ...', '{@hourly}', 'UTC', 'ops', 'The old files', '{}', '[]', NULL, '2026-03-04 16:20', 'grace',
        'the disk is being replaced'),
    (6, 'prices/gold', 'def run(): ...', '{0 7 * * *}', 'UTC', 'ada', NULL, '{}', '[]',
        'prices/gold.py:4:12: `schedul` is not a key; did you mean `schedule`?', NULL, NULL, NULL))
    v(task_id, name, version, schedule, zone, owner, description, notify, expectations, problem, paused_at, paused_by, reason);

INSERT INTO task_schedule (task_id, last_fire_at, next_fire_at, next_due_at)
VALUES (1, '2026-03-06 01:30', '2126-03-07 01:30', '2126-03-07 01:30'), (2, '2026-03-06 18:00', '2126-03-07 00:00', '2126-03-07 00:00'),
       (3, '2026-03-06 04:00', '2126-03-07 04:00', '2126-03-07 04:00'), (4, '2026-03-01 09:00', NULL, NULL),
       (5, '2026-03-04 16:20', NULL, NULL), (6, '2026-03-06 07:00', '2126-03-07 07:00', '2126-03-07 07:00');

INSERT INTO task_event (task_id, task_name, at, actor, kind, before, after)
SELECT task_id, name, '2026-03-01 09:00'::timestamptz, 'syncer', 'created', NULL::jsonb,
       jsonb_build_object('script_sha256', encode(sha256('def run(): ...'), 'hex')) FROM task
UNION ALL
SELECT 1, 'backup', '2026-03-05 10:12', 'syncer', 'edited', jsonb_build_object('script_sha256', encode(sha256('def run(): ...'), 'hex')),
       jsonb_build_object('script_sha256', encode(sha256('def run(): # thorough'), 'hex'));

INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, attempt, trigger, status, reason, detail, queued_at, due_at, started_at,
                     finished_at, exit_code, missed_count, missed_until, blocking_run_id, return_value, error_type, error, traceback,
                     requested_by, args, node_id, script_sha256)
SELECT run_id, v.task_id, t.name, at::timestamptz, attempt, trigger, status, reason, detail, at::timestamptz, at::timestamptz,
       at::timestamptz + late * interval '1 ms', at::timestamptz + (coalesce(late, 0) + coalesce(took, 0)) * interval '1 ms', code, v.missed,
       until::timestamptz, blocking, value::jsonb, kind, error, CASE WHEN kind IS NOT NULL THEN E'Traceback (most recent call last):\n'
         || format(E'  File "%s", line 12, in run\n    reply = connect(timeout=5)\n%s: %s', t.script_path, kind, error) END,
       who, v.args::jsonb, CASE WHEN at < '2026-03-05 14:30' THEN '00000000-0000-7000-8000-000000000001' ELSE '00000000-0000-7000-8000-000000000002' END::uuid,
       CASE WHEN v.task_id = 1 AND at > '2026-03-05 10:12' THEN sha256('def run(): # thorough') ELSE sha256('def run(): ...') END
  FROM (VALUES
    (101, 1, '2026-03-02 01:30', 1, 'schedule', 'succeeded', NULL, NULL, 2, 61800, 0, NULL, NULL, NULL, '{"gib": 41.2}', NULL, NULL, NULL, NULL),
    (106, 1, '2026-03-03 01:30', 1, 'schedule', 'succeeded', NULL, NULL, 3, 64100, 0, NULL, NULL, NULL, '{"gib": 41.5}', NULL, NULL, NULL, NULL),
    (112, 1, '2026-03-04 01:30', 1, 'schedule', 'failed', 'exited', 'exit code 3', 2, 5200, 3, NULL, NULL, NULL, NULL, 'exited', 'exit code 3', NULL, NULL),
    (113, 1, '2026-03-04 01:30', 2, 'schedule', 'succeeded', NULL, NULL, 35210, 63900, 0, NULL, NULL, NULL, '{"gib": 41.9}', NULL, NULL, NULL, NULL),
    (121, 1, '2026-03-05 01:30', 1, 'schedule', 'missed', 'down', 'no node was alive from 01:12 to 14:30', NULL, NULL, NULL, 1, '2026-03-05 01:30', NULL, NULL, NULL, NULL, NULL, NULL),
    (128, 1, '2026-03-06 01:30', 1, 'schedule', 'succeeded', NULL, NULL, 2, 187400, 0, NULL, NULL, NULL, '{"gib": 42.3}', NULL, NULL, NULL, NULL),
    (100, 2, '2026-03-02 00:00', 1, 'schedule', 'succeeded', NULL, NULL, 1, 410, 0, NULL, NULL, NULL, '{"price": 58100.5}', NULL, NULL, NULL, NULL),
    (103, 2, '2026-03-02 06:00', 1, 'schedule', 'succeeded', NULL, NULL, 2, 395, 0, NULL, NULL, NULL, '{"price": 58240}', NULL, NULL, NULL, NULL),
    (104, 2, '2026-03-02 12:00', 1, 'schedule', 'succeeded', NULL, NULL, 1, 402, 0, NULL, NULL, NULL, '{"price": 57990.25}', NULL, NULL, NULL, NULL),
    (105, 2, '2026-03-03 12:00', 1, 'schedule', 'succeeded', NULL, NULL, 2, 388, 0, NULL, NULL, NULL, '{"price": 59210}', NULL, NULL, NULL, NULL),
    (114, 2, '2026-03-04 12:00', 1, 'schedule', 'succeeded', NULL, NULL, 4020, 420, 0, NULL, NULL, NULL, '{"price": 59180.75}', NULL, NULL, NULL, NULL),
    (122, 2, '2026-03-05 06:00', 1, 'schedule', 'missed', 'down', 'no node was alive from 01:12 to 14:30', NULL, NULL, NULL, 2, '2026-03-05 12:00', NULL, NULL, NULL, NULL, NULL, NULL),
    (124, 2, '2026-03-05 18:00', 1, 'schedule', 'succeeded', NULL, NULL, 1, 415, 0, NULL, NULL, NULL, '{"price": 60420}', NULL, NULL, NULL, NULL),
    (129, 2, '2026-03-06 12:00', 1, 'schedule', 'succeeded', NULL, NULL, 1, 433, 0, NULL, NULL, NULL, '{"price": 604200}', NULL, NULL, NULL, NULL),
    (102, 3, '2026-03-02 04:00', 1, 'schedule', 'succeeded', NULL, NULL, 2, 8300, 0, NULL, NULL, NULL, '118', NULL, NULL, NULL, NULL),
    (107, 3, '2026-03-03 04:00', 1, 'schedule', 'failed', 'raised', NULL, 2, 5080, 1, NULL, NULL, NULL, NULL, 'TimeoutError', 'ledger.example.org did not answer', NULL, NULL),
    (115, 3, '2026-03-04 04:00', 1, 'schedule', 'succeeded', NULL, NULL, 3, 8700, 0, NULL, NULL, NULL, '240', NULL, NULL, NULL, NULL),
    (123, 3, '2026-03-05 04:00', 1, 'schedule', 'missed', 'down', 'no node was alive from 01:12 to 14:30', NULL, NULL, NULL, 1, '2026-03-05 04:00', NULL, NULL, NULL, NULL, NULL, NULL),
    (127, 3, '2026-03-06 04:00', 1, 'schedule', 'failed', 'raised', NULL, 2, 5110, 1, NULL, NULL, NULL, NULL, 'TimeoutError', 'ledger.example.org did not answer', NULL, NULL),
    (117, 4, '2026-03-04 15:02', 1, 'manual', 'succeeded', NULL, NULL, 12, 93000, 0, NULL, NULL, NULL, NULL, NULL, NULL, 'ada', '{"week": 9}'),
    (118, 4, '2026-03-04 15:03', 1, 'manual', 'skipped', 'overlap', 'run 117 was still running', NULL, NULL, NULL, NULL, NULL, 117, NULL, NULL, NULL, 'grace', NULL),
    (119, 5, '2026-03-04 17:00', 1, 'schedule', 'missed', 'paused', 'paused by grace', NULL, NULL, NULL, 50, '2026-03-06 18:00', NULL, NULL, NULL, NULL, NULL, NULL),
    (125, 3, '2026-03-05 15:10', 1, 'backfill', 'succeeded', NULL, NULL, 4, 8900, 0, NULL, NULL, NULL, '131', NULL, NULL, 'ada', NULL))
    v(run_id, task_id, at, attempt, trigger, status, reason, detail, late, took, code, missed, until, blocking, value, kind, error, who, args)
  JOIN task t USING (task_id);
UPDATE run_log SET due_at = due_at + interval '35.2 s', queued_at = queued_at + interval '5.2 s' WHERE run_id = 113;
UPDATE run_log SET as_of = '2026-03-05 04:00' WHERE run_id = 125;
UPDATE run_log SET python = '3.12.3', lock_sha256 = sha256(CASE WHEN scheduled_for < '2026-03-05' THEN 'idna==3.10' ELSE 'idna==3.11' END::bytea)
 WHERE task_id = 2 AND started_at IS NOT NULL;

-- What waits, and what failed today.
INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, started_at, finished_at,
                     error_type, error)
SELECT 201, 3, 'sync/orders', at, 'schedule', 'failed', 'raised', at, at, at, at + interval '5.09 s', 'TimeoutError',
       'ledger.example.org did not answer'
  FROM (SELECT date_trunc('day', now()) AS at) d;

INSERT INTO run_output (run_id, sequence, written_at, chunk)
VALUES (128, 0, '2026-03-06 01:30:01', E'reading 214 tables\n'), (128, 1, '2026-03-06 01:33:05', E'verifying\n42.3 GiB\n');

INSERT INTO task_stat (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms, last_success_at,
                       consecutive_failures, runs_total, failures_total)
SELECT DISTINCT ON (r.task_id) r.task_id, r.run_id, r.scheduled_for, r.status, r.finished_at, r.duration_ms,
       (SELECT max(s.finished_at) FROM run_log s WHERE s.task_id = r.task_id AND s.status = 'succeeded'),
       CASE r.task_id WHEN 3 THEN 2 ELSE 0 END, count(*) OVER t, count(*) FILTER (WHERE r.status = 'failed') OVER t
  FROM run_log r WHERE r.started_at IS NOT NULL WINDOW t AS (PARTITION BY r.task_id)
 ORDER BY r.task_id, r.finished_at DESC;

INSERT INTO observation (task_id, series, at, value, kind, run_id, attempt, script_sha256, recorded_at, judged_at, suspect, breach)
SELECT r.task_id, v.key, r.scheduled_for, v.value::numeric, 'number', r.run_id, r.attempt, r.script_sha256, r.finished_at, r.finished_at,
       CASE WHEN v.value::numeric > 100000 THEN '604200 is more than 100000' END, v.value::numeric > 100000
  FROM run_log r CROSS JOIN LATERAL jsonb_each_text(r.return_value) v
 WHERE jsonb_typeof(r.return_value) = 'object' AND r.status = 'succeeded';

INSERT INTO delivery (delivery_id, channel, kind, task_id, task_name, run_id, scheduled_for, attempt, facts, state, attempts, last_error,
                      created_at, delivered_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'ops', 'failed', 3, 'sync/orders', 107, '2026-03-03 04:00', 1, '{}', 'delivered', 1, NULL,
        '2026-03-03 04:00:05', '2026-03-03 04:00:06'),
       ('00000000-0000-4000-8000-000000000002', 'ops', 'recovered', 3, 'sync/orders', 115, '2026-03-04 04:00', 1, '{}', 'given_up', 31,
        'the server answered 503', '2026-03-04 04:00:09', NULL);

-- Four days are over and rolled up; the fifth is read from the log.
INSERT INTO run_daily SELECT * FROM run_days('2026-03-02', '2026-03-06');
INSERT INTO rolled_up_day SELECT d::date, d, 201 FROM generate_series('2026-03-02'::timestamptz, '2026-03-05', '1 day') d;
