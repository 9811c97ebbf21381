-- What is kept for how long, and the numbers that outlive it: a row for each task and day, written before the runs of that day go.

CREATE TABLE run_daily (
  task_id            bigint NOT NULL,
  day                date NOT NULL,
  task_name          text NOT NULL,
  succeeded          bigint NOT NULL,
  failed             bigint NOT NULL,
  timed_out          bigint NOT NULL,
  cancelled          bigint NOT NULL,
  lost               bigint NOT NULL,
  skipped            bigint NOT NULL,
  missed             bigint NOT NULL,
  duration_p50_ms    double precision,
  duration_p95_ms    double precision,
  start_delay_p50_ms double precision,
  start_delay_p95_ms double precision,
  cpu_ms             bigint,
  max_rss_kb         bigint,
  first_scheduled_for timestamptz NOT NULL,
  last_scheduled_for timestamptz NOT NULL,
  PRIMARY KEY (task_id, day)
);
CREATE INDEX run_daily_day ON run_daily (day);
COMMENT ON TABLE run_daily IS 'What became of the runs of a task on a day: kept for ever, written when the day is over and none of its runs is active. No foreign key: numbers outlive tasks and runs.';
COMMENT ON COLUMN run_daily.task_id IS 'The task.';
COMMENT ON COLUMN run_daily.day IS 'The day in UTC on which scheduled_for lies.';
COMMENT ON COLUMN run_daily.task_name IS 'Its name then.';
COMMENT ON COLUMN run_daily.succeeded IS 'Attempts that succeeded, whatever asked for them.';
COMMENT ON COLUMN run_daily.failed IS 'Attempts that failed.';
COMMENT ON COLUMN run_daily.timed_out IS 'Attempts that timed out.';
COMMENT ON COLUMN run_daily.cancelled IS 'Attempts that were cancelled.';
COMMENT ON COLUMN run_daily.lost IS 'Attempts that were lost.';
COMMENT ON COLUMN run_daily.skipped IS 'Instants and retries that were skipped.';
COMMENT ON COLUMN run_daily.missed IS 'Instants that were missed; a span of them counts on the day of its first.';
COMMENT ON COLUMN run_daily.duration_p50_ms IS 'Median of duration_ms of the attempts that were started and ended, milliseconds.';
COMMENT ON COLUMN run_daily.duration_p95_ms IS 'What 95 in 100 of them did not exceed.';
COMMENT ON COLUMN run_daily.start_delay_p50_ms IS 'Median of start_delay_ms of the first attempts that the schedule asked for, milliseconds. What was made up for is late by nature and does not count.';
COMMENT ON COLUMN run_daily.start_delay_p95_ms IS 'What 95 in 100 of them did not exceed.';
COMMENT ON COLUMN run_daily.cpu_ms IS 'User and system time of all attempts, milliseconds.';
COMMENT ON COLUMN run_daily.max_rss_kb IS 'Peak resident memory of the largest process of any attempt, KiB.';
COMMENT ON COLUMN run_daily.first_scheduled_for IS 'The first instant of the day that has a row in the run log.';
COMMENT ON COLUMN run_daily.last_scheduled_for IS 'The last one.';
COMMENT ON INDEX run_daily_day IS 'All tasks of a day.';

CREATE TABLE rolled_up_day (
  day          date PRIMARY KEY,
  rolled_up_at timestamptz NOT NULL,
  last_run_id  bigint NOT NULL
);
COMMENT ON TABLE rolled_up_day IS 'Days in UTC that are in run_daily. Runs of other days are in the run log alone.';
COMMENT ON COLUMN rolled_up_day.day IS 'The day.';
COMMENT ON COLUMN rolled_up_day.rolled_up_at IS 'When it was written last.';
COMMENT ON COLUMN rolled_up_day.last_run_id IS 'The highest number of a run then: a higher one on that day came later and asks for another roll-up.';

ALTER TABLE task
  ADD COLUMN keep_output_seconds double precision CHECK (keep_output_seconds > 0 AND keep_output_seconds <= 3.2e9),
  ADD COLUMN keep_runs_seconds   double precision CHECK (keep_runs_seconds > 0 AND keep_runs_seconds <= 3.2e9),
  ADD COLUMN output_kept_since   timestamptz,
  ADD COLUMN runs_kept_since     timestamptz;
COMMENT ON COLUMN task.keep_output_seconds IS 'How long the output of its runs is kept, where that is shorter than for all tasks; NULL: as for all.';
COMMENT ON COLUMN task.keep_runs_seconds IS 'How long its runs are kept, where that is shorter than for all tasks; NULL: as for all.';
COMMENT ON COLUMN task.output_kept_since IS 'Output of its runs from before this instant was removed because of keep_output_seconds; NULL: none was.';
COMMENT ON COLUMN task.runs_kept_since IS 'Its rows of the run log from before this instant were removed because of keep_runs_seconds; NULL: none were.';

-- What somebody writes into a list in psql must be one that every node can read: no list inside of it, and nothing absent in it.
CREATE FUNCTION is_plain_list(list text[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT list IS NULL OR CASE WHEN coalesce(array_ndims(list), 1) = 1 THEN array_position(list, NULL) IS NULL ELSE false END
$$;
COMMENT ON FUNCTION is_plain_list(text[]) IS 'Whether a list has one dimension and no NULL in it.';
UPDATE task SET schedule_override = NULL WHERE NOT is_plain_list(schedule_override);
UPDATE task SET notify_to = '{}' WHERE NOT is_plain_list(notify_to);
ALTER TABLE task ADD CONSTRAINT task_plain_lists CHECK (
  is_plain_list(schedule) AND is_plain_list(schedule_override) AND is_plain_list(retry_on) AND is_plain_list(required_tags)
  AND is_plain_list(env) AND is_plain_list(secrets) AND is_plain_list(tags) AND is_plain_list(notify_to)) NOT VALID;

ALTER TABLE script_version ADD COLUMN last_used_on date;
COMMENT ON COLUMN script_version.last_used_on IS 'The last day in UTC, of those that are rolled up, on which a run of it was due; NULL: none.';

ALTER TABLE node ADD COLUMN python text;
COMMENT ON COLUMN node.python IS 'Version of the interpreter that it runs scripts with, as found at its start; NULL: it found none.';

ALTER TABLE duty DROP CONSTRAINT duty_duty_check;
ALTER TABLE duty ADD CONSTRAINT duty_duty_check CHECK (duty IN ('syncer', 'retention'));
COMMENT ON COLUMN duty.duty IS 'syncer: reads its scripts directory into task. retention: rolls days up, and removes what is older than it is to be kept.';

CREATE FUNCTION run_days(from_day date, until_day date) RETURNS SETOF run_daily LANGUAGE sql STABLE AS $$
  SELECT r.task_id, (r.scheduled_for AT TIME ZONE 'UTC')::date, (array_agg(r.task_name ORDER BY r.scheduled_for DESC, r.attempt DESC))[1],
         count(*) FILTER (WHERE r.status = 'succeeded'), count(*) FILTER (WHERE r.status = 'failed'),
         count(*) FILTER (WHERE r.status = 'timed_out'), count(*) FILTER (WHERE r.status = 'cancelled'),
         count(*) FILTER (WHERE r.status = 'lost'), count(*) FILTER (WHERE r.status = 'skipped'),
         coalesce(sum(coalesce(r.missed_count, 1)) FILTER (WHERE r.status = 'missed'), 0)::bigint,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY r.duration_ms), percentile_cont(0.95) WITHIN GROUP (ORDER BY r.duration_ms),
         percentile_cont(0.5) WITHIN GROUP (ORDER BY r.start_delay_ms) FILTER (WHERE r.attempt = 1 AND r.trigger = 'schedule'),
         percentile_cont(0.95) WITHIN GROUP (ORDER BY r.start_delay_ms) FILTER (WHERE r.attempt = 1 AND r.trigger = 'schedule'),
         sum(r.cpu_ms)::bigint, max(r.max_rss_kb), min(r.scheduled_for), max(r.scheduled_for)
    FROM run_log r
   WHERE r.scheduled_for >= from_day::timestamp AT TIME ZONE 'UTC' AND r.scheduled_for < until_day::timestamp AT TIME ZONE 'UTC'
   GROUP BY 1, 2
$$;
COMMENT ON FUNCTION run_days(date, date) IS 'What run_daily says, made from the run log as it is now, of the days in UTC from the first one given up to the day before the second.';

CREATE FUNCTION roll_up(asked_day date) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  starts_at timestamptz := asked_day::timestamp AT TIME ZONE 'UTC';
  ends_at timestamptz := (asked_day + 1)::timestamp AT TIME ZONE 'UTC';
  newest bigint;
BEGIN
  IF ends_at > clock_timestamp()
     OR EXISTS (SELECT FROM run_lease l WHERE l.scheduled_for >= starts_at AND l.scheduled_for < ends_at) THEN
    RETURN false;
  END IF;
  SELECT last_value INTO newest FROM run_id_sequence;
  -- What a task does not keep for so long is not in the log any more: what was written of it stays.
  INSERT INTO run_daily AS d
  SELECT r.* FROM run_days(asked_day, asked_day + 1) r LEFT JOIN task t USING (task_id)
   WHERE coalesce(t.runs_kept_since <= starts_at, true)
   ORDER BY r.task_id
  ON CONFLICT (task_id, day) DO UPDATE
     SET (task_name, succeeded, failed, timed_out, cancelled, lost, skipped, missed, duration_p50_ms, duration_p95_ms,
          start_delay_p50_ms, start_delay_p95_ms, cpu_ms, max_rss_kb, first_scheduled_for, last_scheduled_for) =
         (excluded.task_name, excluded.succeeded, excluded.failed, excluded.timed_out, excluded.cancelled, excluded.lost,
          excluded.skipped, excluded.missed, excluded.duration_p50_ms, excluded.duration_p95_ms, excluded.start_delay_p50_ms,
          excluded.start_delay_p95_ms, excluded.cpu_ms, excluded.max_rss_kb, excluded.first_scheduled_for, excluded.last_scheduled_for)
   WHERE (d.*) IS DISTINCT FROM (excluded.*);
  UPDATE script_version v SET last_used_on = asked_day
   WHERE coalesce(v.last_used_on < asked_day, true)
     AND v.sha256 IN (SELECT r.script_sha256 FROM run_log r WHERE r.scheduled_for >= starts_at AND r.scheduled_for < ends_at);
  INSERT INTO rolled_up_day AS d (day, rolled_up_at, last_run_id) VALUES (asked_day, clock_timestamp(), newest)
  ON CONFLICT (day) DO UPDATE SET rolled_up_at = excluded.rolled_up_at, last_run_id = excluded.last_run_id;
  RETURN true;
END $$;
COMMENT ON FUNCTION roll_up(date) IS 'Writes the rows of a day in UTC into run_daily. false: the day is not over, or a run of it is active.';

CREATE FUNCTION partitions() RETURNS TABLE (partition text, log text, begins_at timestamptz, ends_at timestamptz) LANGUAGE sql STABLE AS $$
  SELECT c.relname::text, p.log, b.begins_at::timestamp AT TIME ZONE 'UTC', (b.begins_at + p.span)::timestamp AT TIME ZONE 'UTC'
    FROM (VALUES ('run_log', 'YYYY_MM', interval '1 month'), ('run_output', 'YYYY_MM_DD', interval '1 day')) AS p(log, pattern, span)
    JOIN pg_inherits i ON i.inhparent = to_regclass(format('%I.%I', current_schema(), p.log))
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT to_date(substr(c.relname, length(p.log) + 2), p.pattern)::timestamp AS begins_at) b
   WHERE c.relname ~ ('^' || p.log || '_\d{4}(_\d\d)+$')
$$;
COMMENT ON FUNCTION partitions() IS 'Partitions of run_log and run_output, and what they hold: from begins_at up to before ends_at.';

CREATE FUNCTION partition_rows(partition text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  found bigint;
BEGIN
  IF to_regclass(format('%I.%I', current_schema(), partition)) IS NULL THEN RETURN NULL; END IF;
  EXECUTE format('SELECT count(*) FROM %I', partition) INTO found;
  RETURN found;
END $$;
COMMENT ON FUNCTION partition_rows(text) IS 'How many rows a partition has, counted.';

CREATE FUNCTION drop_partition(asked text, patience_ms integer, OUT outcome text, OUT detail text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  p record;
  is_newer boolean;
BEGIN
  SELECT * INTO p FROM partitions() WHERE partition = asked;
  IF p IS NULL THEN
    outcome := 'gone';
    RETURN;
  END IF;
  -- Whoever writes waits behind this for as long as this waits: so it gives up soon, and is asked again.
  PERFORM set_config('lock_timeout', patience_ms || 'ms', true);
  EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', p.log, p.partition);
  IF p.log = 'run_log' THEN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE run_id > $1)', p.partition) INTO is_newer
      USING (SELECT coalesce(max(last_run_id), 0) FROM rolled_up_day d
              WHERE d.day >= (p.begins_at AT TIME ZONE 'UTC')::date AND d.day < (p.ends_at AT TIME ZONE 'UTC')::date);
    IF is_newer
       OR EXISTS (SELECT FROM run_lease l WHERE l.scheduled_for >= p.begins_at AND l.scheduled_for < p.ends_at)
       OR EXISTS (SELECT FROM generate_series(p.begins_at AT TIME ZONE 'UTC', p.ends_at AT TIME ZONE 'UTC' - interval '1 day', '1 day') AS s(day)
                   WHERE NOT EXISTS (SELECT FROM rolled_up_day d WHERE d.day = s.day::date)) THEN
      RAISE no_data_found;
    END IF;
  END IF;
  EXECUTE format('DROP TABLE %I', p.partition);
  outcome := 'dropped';
EXCEPTION
  WHEN no_data_found THEN
    outcome := 'unsettled';
    detail := 'a day of it is not rolled up, or a run of it is active';
  WHEN lock_not_available THEN
    outcome := 'locked';
    SELECT format('process %s of %s (%s) has had a transaction open since %s', a.pid, coalesce(a.usename, 'the server'),
                  coalesce(nullif(a.application_name, ''), a.backend_type), date_trunc('second', a.xact_start)) INTO detail
      FROM pg_locks k JOIN pg_stat_activity a USING (pid)
     WHERE k.granted AND k.pid <> pg_backend_pid() AND k.locktype = 'relation'
       AND k.relation IN (to_regclass(format('%I.%I', current_schema(), asked)), to_regclass(format('%I.%I', current_schema(), p.log)))
     ORDER BY a.xact_start LIMIT 1;
  WHEN dependent_objects_still_exist THEN
    outcome := 'in_the_way';
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  -- Whatever else somebody has put there, such as a foreign key to the run log: the next partition is not its business.
  WHEN OTHERS THEN
    outcome := 'in_the_way';
    detail := SQLERRM;
END $$;
COMMENT ON FUNCTION drop_partition(text, integer) IS 'Drops a partition of run_log whose days are all rolled up, or one of run_output: all in one transaction. outcome: dropped; gone, it was not there; unsettled; locked, somebody uses it and it was waited for so many milliseconds; in_the_way, something that somebody made depends on it. detail says what.';

-- A retry of a backfill is in no instant's way either.
CREATE OR REPLACE FUNCTION queue_next_attempt(
  ended_task_id bigint, ended_task_name text, ended_scheduled_for timestamptz, ended_attempt smallint, ended_trigger text,
  ended_as_of timestamptz, ended_args jsonb, ended_requested_by text, ended_node_id uuid, ended_at timestamptz
) RETURNS bigint LANGUAGE sql AS $$
  WITH queued AS (
    INSERT INTO run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags, args, as_of,
                           serial)
    SELECT nextval('run_id_sequence'), ended_task_id, ended_scheduled_for, (ended_attempt + 1)::smallint, ended_trigger, 'queued',
           ended_at + retry_pause(t.retry_delay_seconds, t.retry_backoff, t.retry_cap_seconds, ended_attempt),
           t.queue, t.required_tags, ended_args, ended_as_of, ended_trigger = 'backfill'
      FROM task t JOIN node n ON n.node_id = ended_node_id
     WHERE t.task_id = ended_task_id AND ended_attempt <= t.retry_max AND t.retired_at IS NULL
       -- Who runs something in a terminal tries again by hand.
       AND n.kind = 'serve'
    ON CONFLICT DO NOTHING
    RETURNING *
  )
  INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, attempt, trigger, status, queued_at, due_at, as_of, args,
                       requested_by, script_sha256)
  SELECT q.run_id, q.task_id, ended_task_name, q.scheduled_for, q.attempt, q.trigger, 'queued', clock_timestamp(), q.due_at,
         q.as_of, q.args, ended_requested_by, t.script_sha256
    FROM queued q JOIN task t USING (task_id)
  RETURNING run_id
$$;
