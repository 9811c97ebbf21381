-- The contract for everybody who reads: views in the schema dropcron_report, and four functions for those who may act.
--
-- Within a major version columns are only added here, at the end of a view; the tables in dropcron may change with any
-- version. A view reads with the rights of its owner, so that its readers need none on the tables. Each is made of plain joins, so
-- that a filter on a task or a time reaches the indexes; a day is a day in UTC.

-- Whoever made it for a role that may make no schemas may still own it.
DO $$ BEGIN
  IF to_regnamespace('dropcron_report') IS NULL THEN CREATE SCHEMA dropcron_report; END IF;
  COMMENT ON SCHEMA dropcron_report IS 'The stable contract of dropcron: views to report from, and functions to act. Within a major version columns are only added.';
EXCEPTION WHEN insufficient_privilege THEN
  IF to_regnamespace('dropcron_report') IS NULL THEN RAISE; END IF;
END $$;

-- ---------- what the views need ----------

-- An instant that was made up for later, by its row. Rows of the schedule have no as_of, and cost nothing here.
CREATE INDEX run_log_as_of ON run_log (task_id, as_of) WHERE as_of IS NOT NULL;
COMMENT ON INDEX run_log_as_of IS 'Runs that stand for another instant than their own, by that instant.';

-- Points come in the order of time, and there is no end to them: ranges of pages are index enough, and cost next to nothing.
CREATE INDEX observation_day ON observation USING brin (at, ((at AT TIME ZONE 'UTC')::date)) WITH (autosummarize = on);
COMMENT ON INDEX observation_day IS 'Points of all tasks by time and by day in UTC.';

ALTER TABLE task_stat ADD COLUMN consecutive_successes integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN task_stat.consecutive_successes IS 'Runs that succeeded since the last failure that counts. Where a failure and a success after it were written by one statement, it goes on.';

CREATE FUNCTION task_succeeded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.consecutive_failures > 0 THEN
    NEW.consecutive_successes := 0;
  ELSIF TG_OP = 'INSERT' THEN
    NEW.consecutive_successes := CASE WHEN NEW.last_success_at IS NULL THEN 0
                                      WHEN NEW.last_status = 'succeeded' AND NEW.failures_total = 0 THEN NEW.runs_total ELSE 1 END;
  ELSIF NEW.last_success_at IS DISTINCT FROM OLD.last_success_at THEN
    -- Several ends of one task are one statement when they come faster than it is written.
    NEW.consecutive_successes := OLD.consecutive_successes
      + CASE WHEN NEW.last_status = 'succeeded' AND NEW.failures_total = OLD.failures_total
             THEN greatest(NEW.runs_total - OLD.runs_total, 1) ELSE 1 END;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION task_succeeded() IS 'Counts successes in a row, beside the failures in a row that count_ends counts.';
CREATE TRIGGER task_succeeded BEFORE INSERT OR UPDATE ON task_stat FOR EACH ROW EXECUTE FUNCTION task_succeeded();

-- ---------- tasks and runs ----------

CREATE VIEW dropcron_report.tasks AS
SELECT t.task_id, t.name AS task,
       CASE WHEN coalesce(t.problem, t.planned_problem) IS NOT NULL THEN 'problem'
            WHEN t.paused_at IS NOT NULL THEN 'paused'
            WHEN NOT t.enabled THEN 'disabled'
            WHEN l.state = 'running' THEN 'running'
            WHEN l.state IS NOT NULL THEN 'queued'
            WHEN cardinality(coalesce(t.schedule_override, t.schedule)) = 0 THEN 'manual only'
            ELSE 'ready' END AS state,
       coalesce(t.problem, t.planned_problem) AS problem,
       coalesce(t.schedule_override, t.schedule) AS schedule,
       coalesce(t.timezone_override, t.timezone) AS timezone,
       s.next_fire_at, l.run_id AS active_run_id,
       c.last_run_id, c.last_status, c.last_scheduled_for, c.last_finished_at, c.last_duration_ms, c.last_success_at,
       coalesce(c.consecutive_failures, 0) AS consecutive_failures,
       coalesce(c.consecutive_successes, 0) AS consecutive_successes,
       CASE WHEN c.consecutive_failures > 0 THEN coalesce((
         SELECT r.scheduled_for FROM run_log r
          WHERE r.task_id = t.task_id AND r.scheduled_for >= coalesce(c.last_success_at, '-infinity')
          ORDER BY r.scheduled_for LIMIT 1), c.last_scheduled_for) END AS failing_since,
       coalesce(c.runs_total, 0) AS runs_total, coalesce(c.failures_total, 0) AS failures_total,
       t.paused_at, t.paused_by, t.paused_reason, t.description, t.owner, t.tags, t.notify_to,
       encode(t.script_sha256, 'hex') AS script_sha256, t.script_path, t.created_at, t.updated_at
  FROM task t
  LEFT JOIN task_schedule s USING (task_id)
  LEFT JOIN task_stat c USING (task_id)
  LEFT JOIN LATERAL (SELECT run_id, state FROM run_lease l WHERE l.task_id = t.task_id ORDER BY run_id LIMIT 1) l ON true
 WHERE t.retired_at IS NULL;
COMMENT ON VIEW dropcron_report.tasks IS 'A row for each task whose file is there: how it stands, when it is due next, how its last run ended.';
COMMENT ON COLUMN dropcron_report.tasks.task_id IS 'Number of the task; kept over renames.';
COMMENT ON COLUMN dropcron_report.tasks.task IS 'Its name: the path of the script, without suffix.';
COMMENT ON COLUMN dropcron_report.tasks.state IS 'problem, paused, disabled, running, queued, manual only, or ready: the first that holds.';
COMMENT ON COLUMN dropcron_report.tasks.problem IS 'What is wrong with its file or its schedule; the last good version goes on. NULL: nothing.';
COMMENT ON COLUMN dropcron_report.tasks.schedule IS 'The schedules in force: those of the header, or the override.';
COMMENT ON COLUMN dropcron_report.tasks.timezone IS 'The zone that they are read in.';
COMMENT ON COLUMN dropcron_report.tasks.next_fire_at IS 'The next instant it is due; NULL: none.';
COMMENT ON COLUMN dropcron_report.tasks.active_run_id IS 'Its oldest run that has not ended; NULL: none.';
COMMENT ON COLUMN dropcron_report.tasks.last_run_id IS 'Its run that ended last; NULL: none ever did.';
COMMENT ON COLUMN dropcron_report.tasks.last_status IS 'How that ended.';
COMMENT ON COLUMN dropcron_report.tasks.last_scheduled_for IS 'The instant of that run.';
COMMENT ON COLUMN dropcron_report.tasks.last_finished_at IS 'When that ended.';
COMMENT ON COLUMN dropcron_report.tasks.last_duration_ms IS 'How long that ran, milliseconds.';
COMMENT ON COLUMN dropcron_report.tasks.last_success_at IS 'When a run of it last succeeded.';
COMMENT ON COLUMN dropcron_report.tasks.consecutive_failures IS 'Failures since then. An instant that is tried several times fails once, with its last attempt.';
COMMENT ON COLUMN dropcron_report.tasks.consecutive_successes IS 'Runs that succeeded since the last failure.';
COMMENT ON COLUMN dropcron_report.tasks.failing_since IS 'The first instant after its last success, from which on nothing succeeded; NULL: it does not fail.';
COMMENT ON COLUMN dropcron_report.tasks.runs_total IS 'Attempts that ended, ever, also those that are not in the run log any more.';
COMMENT ON COLUMN dropcron_report.tasks.failures_total IS 'Those that failed, timed out or were lost.';
COMMENT ON COLUMN dropcron_report.tasks.paused_at IS 'Since when it is paused; NULL: it is not.';
COMMENT ON COLUMN dropcron_report.tasks.paused_by IS 'Who paused it.';
COMMENT ON COLUMN dropcron_report.tasks.paused_reason IS 'Why.';
COMMENT ON COLUMN dropcron_report.tasks.description IS 'What its header or its docstring says of it.';
COMMENT ON COLUMN dropcron_report.tasks.owner IS 'Who to ask.';
COMMENT ON COLUMN dropcron_report.tasks.tags IS 'Labels.';
COMMENT ON COLUMN dropcron_report.tasks.notify_to IS 'Channels that are told of failures; empty: nobody is.';
COMMENT ON COLUMN dropcron_report.tasks.script_sha256 IS 'The script version in force; see script_versions.';
COMMENT ON COLUMN dropcron_report.tasks.script_path IS 'Its file, relative to the scripts directory.';
COMMENT ON COLUMN dropcron_report.tasks.created_at IS 'When it was first seen.';
COMMENT ON COLUMN dropcron_report.tasks.updated_at IS 'When what runs or when last changed.';

CREATE VIEW dropcron_report.runs AS
SELECT r.run_id, r.task_id, t.name AS task, r.task_name AS task_then, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason,
       r.detail, r.as_of, r.due_at, r.started_at, r.finished_at, r.duration_ms, r.start_delay_ms, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value, r.error_type,
       split_part(r.error, E'\n', 1) AS error_line, r.error, r.traceback, r.warnings, r.exit_code, r.signal, r.cpu_ms,
       r.max_rss_kb, r.args, r.requested_by, r.node_id, n.host, encode(r.script_sha256, 'hex') AS script_sha256, n.python,
       r.late_report, r.queued_at
  FROM run_log r
  LEFT JOIN task t USING (task_id)
  LEFT JOIN node n USING (node_id);
COMMENT ON VIEW dropcron_report.runs IS 'The run log: a row for every instant at which a task was due, and every attempt. Filter on task, run_id or scheduled_for.';
COMMENT ON COLUMN dropcron_report.runs.run_id IS 'Number of the run.';
COMMENT ON COLUMN dropcron_report.runs.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.runs.task IS 'Name of the task today, also for runs from before it was renamed; NULL: somebody deleted its row.';
COMMENT ON COLUMN dropcron_report.runs.task_then IS 'Its name when the run was due.';
COMMENT ON COLUMN dropcron_report.runs.scheduled_for IS 'The instant that the schedule asked for; for manual and backfill runs the instant of the request; for a missed span its first instant.';
COMMENT ON COLUMN dropcron_report.runs.attempt IS '1 for the first try.';
COMMENT ON COLUMN dropcron_report.runs.trigger IS 'What asked for it: schedule, catch_up, backfill, manual.';
COMMENT ON COLUMN dropcron_report.runs.status IS 'queued, running; succeeded, failed, timed_out, cancelled; lost: nobody knows; skipped, missed: it did not run.';
COMMENT ON COLUMN dropcron_report.runs.reason IS 'Why it has that status; NULL for queued, running and succeeded.';
COMMENT ON COLUMN dropcron_report.runs.detail IS 'The facts behind the reason, in words.';
COMMENT ON COLUMN dropcron_report.runs.as_of IS 'The instant that it stands for, where that is not scheduled_for.';
COMMENT ON COLUMN dropcron_report.runs.due_at IS 'When it should have started.';
COMMENT ON COLUMN dropcron_report.runs.started_at IS 'When its script was let go; NULL: it never was.';
COMMENT ON COLUMN dropcron_report.runs.finished_at IS 'When it ended, or when it was decided that it does not run; NULL: not yet.';
COMMENT ON COLUMN dropcron_report.runs.duration_ms IS 'How long it ran, milliseconds.';
COMMENT ON COLUMN dropcron_report.runs.start_delay_ms IS 'How late it started, milliseconds after due_at.';
COMMENT ON COLUMN dropcron_report.runs.missed_count IS 'For missed: how many instants this row stands for.';
COMMENT ON COLUMN dropcron_report.runs.missed_until IS 'For missed: the last of them.';
COMMENT ON COLUMN dropcron_report.runs.blocking_run_id IS 'For skipped because of overlap: the run that was in the way.';
COMMENT ON COLUMN dropcron_report.runs.return_value IS 'What run() returned.';
COMMENT ON COLUMN dropcron_report.runs.error_type IS 'Type of the exception, or a word of dropcron''s in small letters.';
COMMENT ON COLUMN dropcron_report.runs.error_line IS 'The first line of its message.';
COMMENT ON COLUMN dropcron_report.runs.error IS 'Its message, whole.';
COMMENT ON COLUMN dropcron_report.runs.traceback IS 'Python''s traceback, from the script''s first frame on.';
COMMENT ON COLUMN dropcron_report.runs.warnings IS 'What people should know although the run ended well.';
COMMENT ON COLUMN dropcron_report.runs.exit_code IS 'Exit code of the process, if it exited.';
COMMENT ON COLUMN dropcron_report.runs.signal IS 'Signal that ended the process, if one did.';
COMMENT ON COLUMN dropcron_report.runs.cpu_ms IS 'User and system time of all its processes, milliseconds.';
COMMENT ON COLUMN dropcron_report.runs.max_rss_kb IS 'Peak memory of its largest process, KiB.';
COMMENT ON COLUMN dropcron_report.runs.args IS 'Keyword arguments given for this run alone.';
COMMENT ON COLUMN dropcron_report.runs.requested_by IS 'Who asked for it, for runs that somebody asked for.';
COMMENT ON COLUMN dropcron_report.runs.node_id IS 'The process of dropcron that ran it; see nodes.';
COMMENT ON COLUMN dropcron_report.runs.host IS 'The machine of that.';
COMMENT ON COLUMN dropcron_report.runs.script_sha256 IS 'The script version that ran; see script_versions.';
COMMENT ON COLUMN dropcron_report.runs.python IS 'Version of the interpreter of the node that ran it.';
COMMENT ON COLUMN dropcron_report.runs.late_report IS 'true: first recorded as lost, then its node came back with this end.';
COMMENT ON COLUMN dropcron_report.runs.queued_at IS 'When the row was made.';

CREATE VIEW dropcron_report.output AS
SELECT run_id, sequence, written_at, chunk FROM run_output;
COMMENT ON VIEW dropcron_report.output IS 'What runs printed, in chunks. Filter on run_id and order by sequence.';
COMMENT ON COLUMN dropcron_report.output.run_id IS 'The run.';
COMMENT ON COLUMN dropcron_report.output.sequence IS 'Order within the run, from 0; a gap is output that was left out.';
COMMENT ON COLUMN dropcron_report.output.written_at IS 'When it was written here.';
COMMENT ON COLUMN dropcron_report.output.chunk IS 'Text.';

CREATE VIEW dropcron_report.latest AS
SELECT t.task_id, t.name AS task, r.run_id, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.due_at,
       r.started_at, r.finished_at, r.duration_ms, r.start_delay_ms, r.return_value, r.error_type,
       split_part(r.error, E'\n', 1) AS error_line
  FROM task t
 CROSS JOIN LATERAL (SELECT * FROM run_log r WHERE r.task_id = t.task_id ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1) r
 WHERE t.retired_at IS NULL;
COMMENT ON VIEW dropcron_report.latest IS 'The newest row of the run log of each task whose file is there, whatever its status.';
COMMENT ON COLUMN dropcron_report.latest.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.latest.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.latest.run_id IS 'Number of the run.';
COMMENT ON COLUMN dropcron_report.latest.scheduled_for IS 'The instant of the run.';
COMMENT ON COLUMN dropcron_report.latest.attempt IS '1 for the first try.';
COMMENT ON COLUMN dropcron_report.latest.trigger IS 'What asked for it.';
COMMENT ON COLUMN dropcron_report.latest.status IS 'How it stands, or how it ended.';
COMMENT ON COLUMN dropcron_report.latest.reason IS 'Why it has that status.';
COMMENT ON COLUMN dropcron_report.latest.detail IS 'The facts behind the reason, in words.';
COMMENT ON COLUMN dropcron_report.latest.due_at IS 'When it should have started.';
COMMENT ON COLUMN dropcron_report.latest.started_at IS 'When its script was let go.';
COMMENT ON COLUMN dropcron_report.latest.finished_at IS 'When it ended.';
COMMENT ON COLUMN dropcron_report.latest.duration_ms IS 'How long it ran, milliseconds.';
COMMENT ON COLUMN dropcron_report.latest.start_delay_ms IS 'How late it started, milliseconds after due_at.';
COMMENT ON COLUMN dropcron_report.latest.return_value IS 'What run() returned.';
COMMENT ON COLUMN dropcron_report.latest.error_type IS 'Type of the exception, or a word of dropcron''s in small letters.';
COMMENT ON COLUMN dropcron_report.latest.error_line IS 'The first line of its message.';

-- ---------- what went wrong ----------

CREATE VIEW dropcron_report.failures_today AS
SELECT r.run_id, r.task_id, t.name AS task, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.error_type,
       split_part(r.error, E'\n', 1) AS error_line, r.started_at, r.finished_at, r.duration_ms,
       coalesce(c.consecutive_failures, 0) AS consecutive_failures, t.owner
  FROM run_log r
  LEFT JOIN task t USING (task_id)
  LEFT JOIN task_stat c USING (task_id)
 WHERE r.scheduled_for >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
   AND r.scheduled_for < (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'
   AND r.status IN ('failed', 'timed_out', 'lost')
   -- As it is counted everywhere: what was tried again fails with its last attempt.
   AND NOT EXISTS (SELECT FROM run_log a
                    WHERE a.task_id = r.task_id AND a.scheduled_for = r.scheduled_for AND a.attempt > r.attempt);
COMMENT ON VIEW dropcron_report.failures_today IS 'Runs of today, in UTC, that failed, timed out or were lost, and that no other attempt followed.';
COMMENT ON COLUMN dropcron_report.failures_today.run_id IS 'Number of the run.';
COMMENT ON COLUMN dropcron_report.failures_today.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.failures_today.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.failures_today.scheduled_for IS 'The instant of the run; it lies in today, UTC.';
COMMENT ON COLUMN dropcron_report.failures_today.attempt IS 'The last attempt of that instant.';
COMMENT ON COLUMN dropcron_report.failures_today.trigger IS 'What asked for it.';
COMMENT ON COLUMN dropcron_report.failures_today.status IS 'failed, timed_out or lost.';
COMMENT ON COLUMN dropcron_report.failures_today.reason IS 'Why.';
COMMENT ON COLUMN dropcron_report.failures_today.error_type IS 'Type of the exception, or a word of dropcron''s in small letters.';
COMMENT ON COLUMN dropcron_report.failures_today.error_line IS 'The first line of its message.';
COMMENT ON COLUMN dropcron_report.failures_today.started_at IS 'When its script was let go.';
COMMENT ON COLUMN dropcron_report.failures_today.finished_at IS 'When it ended.';
COMMENT ON COLUMN dropcron_report.failures_today.duration_ms IS 'How long it ran, milliseconds.';
COMMENT ON COLUMN dropcron_report.failures_today.consecutive_failures IS 'Failures of the task in a row, up to now; 0: it has recovered.';
COMMENT ON COLUMN dropcron_report.failures_today.owner IS 'Who to ask.';

CREATE VIEW dropcron_report.missed AS
SELECT r.run_id, r.task_id, t.name AS task, r.scheduled_for, coalesce(r.missed_until, r.scheduled_for) AS missed_until,
       coalesce(r.missed_count, 1) AS missed_count, r.reason, r.detail, r.queued_at AS recorded_at
  FROM run_log r
  LEFT JOIN task t USING (task_id)
 WHERE r.status = 'missed';
COMMENT ON VIEW dropcron_report.missed IS 'Spans of instants that nobody ran: a row for each, with what was to blame. Filter on task or scheduled_for.';
COMMENT ON COLUMN dropcron_report.missed.run_id IS 'Number of the row in the run log.';
COMMENT ON COLUMN dropcron_report.missed.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.missed.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.missed.scheduled_for IS 'The first instant of the span.';
COMMENT ON COLUMN dropcron_report.missed.missed_until IS 'The last one.';
COMMENT ON COLUMN dropcron_report.missed.missed_count IS 'How many instants it has.';
COMMENT ON COLUMN dropcron_report.missed.reason IS 'down: no node was there. paused, disabled: somebody wanted it. limit: more than the task makes up for.';
COMMENT ON COLUMN dropcron_report.missed.detail IS 'The facts behind the reason, in words.';
COMMENT ON COLUMN dropcron_report.missed.recorded_at IS 'When it was noticed.';

CREATE VIEW dropcron_report.late AS
SELECT r.run_id, r.task_id, t.name AS task, r.scheduled_for, r.attempt, r.trigger, r.status, r.due_at, r.started_at,
       extract(epoch FROM coalesce(r.started_at, now()) - r.due_at)::double precision * 1000 AS start_delay_ms,
       coalesce(t.late_after_seconds * 1000, 1000) AS late_after_ms
  FROM run_log r
  LEFT JOIN task t USING (task_id)
 WHERE (r.start_delay_ms > coalesce(t.late_after_seconds * 1000, 1000)
        OR (r.status = 'queued' AND r.due_at < now() - make_interval(secs => coalesce(t.late_after_seconds, 1))));
COMMENT ON VIEW dropcron_report.late IS 'Runs that started later than their task allows (late_after in its notify, else 1 s) after they were due, or that wait for longer than that. Filter on task or scheduled_for.';
COMMENT ON COLUMN dropcron_report.late.run_id IS 'Number of the run.';
COMMENT ON COLUMN dropcron_report.late.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.late.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.late.scheduled_for IS 'The instant of the run.';
COMMENT ON COLUMN dropcron_report.late.attempt IS '1 for the first try.';
COMMENT ON COLUMN dropcron_report.late.trigger IS 'What asked for it; catch_up runs are late by nature.';
COMMENT ON COLUMN dropcron_report.late.status IS 'How it stands, or how it ended.';
COMMENT ON COLUMN dropcron_report.late.due_at IS 'When it should have started.';
COMMENT ON COLUMN dropcron_report.late.started_at IS 'When it did; NULL: it waits.';
COMMENT ON COLUMN dropcron_report.late.start_delay_ms IS 'How late that was, or is by now, milliseconds.';
COMMENT ON COLUMN dropcron_report.late.late_after_ms IS 'From how much on it counts as late, milliseconds.';

CREATE VIEW dropcron_report.gaps AS
SELECT r.run_id, r.task_id, t.name AS task, coalesce(r.as_of, r.scheduled_for) AS instant,
       coalesce(r.missed_until, r.as_of, r.scheduled_for) AS until_instant,
       coalesce(r.missed_count, 1) - made_up.instants AS instants, r.scheduled_for, r.status, r.reason, r.detail, r.attempt
  FROM run_log r
  LEFT JOIN task t USING (task_id)
 -- Runs that somebody asked for later, for the instants of this row.
 CROSS JOIN LATERAL (
   SELECT count(DISTINCT m.as_of) AS instants FROM run_log m
    WHERE m.task_id = r.task_id AND m.as_of >= r.scheduled_for AND m.as_of <= coalesce(r.missed_until, r.scheduled_for)
      AND m.status = 'succeeded') made_up
 WHERE r.trigger IN ('schedule', 'catch_up') AND r.status IN ('failed', 'timed_out', 'cancelled', 'lost', 'skipped', 'missed')
   AND NOT EXISTS (SELECT FROM run_log o
                    WHERE o.task_id = r.task_id AND o.scheduled_for = r.scheduled_for
                      AND (o.status = 'succeeded' OR o.attempt > r.attempt))
   AND made_up.instants < coalesce(r.missed_count, 1);
COMMENT ON VIEW dropcron_report.gaps IS 'Instants of the schedule that have no successful run: a row for each, or for each missed span. Another attempt or a backfill that succeeds closes it. Filter on task or scheduled_for.';
COMMENT ON COLUMN dropcron_report.gaps.run_id IS 'The last row of the run log for the instant.';
COMMENT ON COLUMN dropcron_report.gaps.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.gaps.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.gaps.instant IS 'The instant, or the first one of a missed span.';
COMMENT ON COLUMN dropcron_report.gaps.until_instant IS 'The last one of a missed span; else the instant itself.';
COMMENT ON COLUMN dropcron_report.gaps.instants IS 'How many instants are open: those of the span, less those that were run since.';
COMMENT ON COLUMN dropcron_report.gaps.scheduled_for IS 'Where the row stands in the run log.';
COMMENT ON COLUMN dropcron_report.gaps.status IS 'What became of it instead: failed, timed_out, cancelled, lost, skipped, missed.';
COMMENT ON COLUMN dropcron_report.gaps.reason IS 'Why.';
COMMENT ON COLUMN dropcron_report.gaps.detail IS 'The facts behind the reason, in words.';
COMMENT ON COLUMN dropcron_report.gaps.attempt IS 'How often it was tried.';

-- ---------- over time ----------

CREATE VIEW dropcron_report.daily AS
SELECT d.task_id, d.task, d.day, d.succeeded + d.failed + d.timed_out + d.lost AS runs, d.succeeded,
       d.failed, d.timed_out, d.lost, d.cancelled, d.skipped, d.missed,
       round(d.succeeded::numeric / nullif(d.succeeded + d.failed + d.timed_out + d.lost, 0), 4) AS success_rate,
       d.duration_p50_ms, d.duration_p95_ms, d.start_delay_p50_ms, d.start_delay_p95_ms, d.cpu_ms, d.max_rss_kb
  FROM (
    SELECT d.task_id, t.name AS task, d.day, d.succeeded, d.failed, d.timed_out, d.lost, d.cancelled, d.skipped, d.missed,
           d.duration_p50_ms, d.duration_p95_ms, d.start_delay_p50_ms, d.start_delay_p95_ms, d.cpu_ms, d.max_rss_kb
      FROM run_daily d
      LEFT JOIN task t USING (task_id)
    UNION ALL
    -- What is not rolled up yet: today, and a day whose runs are not all over. The bound from above is always true; without it the
    -- planner takes a third of the log for newer than an instant that it does not know.
    SELECT l.task_id, t.name, (l.scheduled_for AT TIME ZONE 'UTC')::date,
           count(*) FILTER (WHERE l.status = 'succeeded'), count(*) FILTER (WHERE l.status = 'failed'),
           count(*) FILTER (WHERE l.status = 'timed_out'), count(*) FILTER (WHERE l.status = 'lost'),
           count(*) FILTER (WHERE l.status = 'cancelled'), count(*) FILTER (WHERE l.status = 'skipped'),
           coalesce(sum(coalesce(l.missed_count, 1)) FILTER (WHERE l.status = 'missed'), 0)::bigint,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY l.duration_ms), percentile_cont(0.95) WITHIN GROUP (ORDER BY l.duration_ms),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY l.start_delay_ms) FILTER (WHERE l.attempt = 1 AND l.trigger = 'schedule'),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY l.start_delay_ms) FILTER (WHERE l.attempt = 1 AND l.trigger = 'schedule'),
           sum(l.cpu_ms)::bigint, max(l.max_rss_kb)
      FROM run_log l
      LEFT JOIN task t USING (task_id)
     WHERE l.scheduled_for >= (
             SELECT min(g) AT TIME ZONE 'UTC'
               FROM generate_series((SELECT date_trunc('day', min(r.scheduled_for) AT TIME ZONE 'UTC') FROM run_log r),
                                    (SELECT max(r.scheduled_for) AT TIME ZONE 'UTC' FROM run_log r), interval '1 day') g
              WHERE NOT EXISTS (SELECT FROM rolled_up_day u WHERE u.day = g::date))
       AND l.scheduled_for <= 'infinity'
       AND (l.scheduled_for AT TIME ZONE 'UTC')::date NOT IN (SELECT u.day FROM rolled_up_day u)
     GROUP BY l.task_id, t.name, (l.scheduled_for AT TIME ZONE 'UTC')::date) d;
COMMENT ON VIEW dropcron_report.daily IS 'What became of each task on each day in UTC, for ever: also of days whose runs are not in the run log any more.';
COMMENT ON COLUMN dropcron_report.daily.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.daily.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.daily.day IS 'The day, in UTC, of scheduled_for.';
COMMENT ON COLUMN dropcron_report.daily.runs IS 'Attempts that ran to an end or were lost: succeeded, failed, timed_out and lost.';
COMMENT ON COLUMN dropcron_report.daily.succeeded IS 'Those that succeeded.';
COMMENT ON COLUMN dropcron_report.daily.failed IS 'Those that failed.';
COMMENT ON COLUMN dropcron_report.daily.timed_out IS 'Those that timed out.';
COMMENT ON COLUMN dropcron_report.daily.lost IS 'Those of which nobody knows.';
COMMENT ON COLUMN dropcron_report.daily.cancelled IS 'Attempts that were cancelled; not among runs.';
COMMENT ON COLUMN dropcron_report.daily.skipped IS 'Instants and retries that were skipped; not among runs.';
COMMENT ON COLUMN dropcron_report.daily.missed IS 'Instants that nobody ran; a span counts on the day of its first.';
COMMENT ON COLUMN dropcron_report.daily.success_rate IS 'succeeded / runs, from 0 to 1; NULL: there were no runs.';
COMMENT ON COLUMN dropcron_report.daily.duration_p50_ms IS 'Median of their duration, milliseconds.';
COMMENT ON COLUMN dropcron_report.daily.duration_p95_ms IS 'What 95 in 100 did not exceed.';
COMMENT ON COLUMN dropcron_report.daily.start_delay_p50_ms IS 'Median of how late first attempts of the schedule started, milliseconds.';
COMMENT ON COLUMN dropcron_report.daily.start_delay_p95_ms IS 'What 95 in 100 did not exceed.';
COMMENT ON COLUMN dropcron_report.daily.cpu_ms IS 'User and system time of all attempts, milliseconds.';
COMMENT ON COLUMN dropcron_report.daily.max_rss_kb IS 'Peak memory of the largest process, KiB.';

CREATE VIEW dropcron_report."values" AS
SELECT o.task_id, t.name AS task, o.series, o.at, o.value,
       CASE WHEN t.expectations <> '[]' THEN (
         SELECT e->>'unit' FROM jsonb_array_elements(t.expectations) e WHERE e->>'series' = o.series LIMIT 1) END AS unit,
       o.value IS NOT NULL AND o.verdict IS DISTINCT FROM 'rejected' AS counts,
       o.kind, o.suspect, o.breach, o.verdict, o.verdict_by, o.verdict_at, o.note, o.run_id, o.attempt,
       encode(o.script_sha256, 'hex') AS script_sha256, o.recorded_at, (o.at AT TIME ZONE 'UTC')::date AS day
  FROM observation o
  LEFT JOIN task t USING (task_id);
COMMENT ON VIEW dropcron_report."values" IS 'Numbers that runs returned or somebody imported: one for each task, series and instant, for ever. Filter on task and series, on at, or on day.';
COMMENT ON COLUMN dropcron_report."values".task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report."values".task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report."values".series IS 'Where the number stood in what was returned; value for a bare number.';
COMMENT ON COLUMN dropcron_report."values".at IS 'The instant that it stands for.';
COMMENT ON COLUMN dropcron_report."values".value IS 'The number, with every digit; NULL: a gap.';
COMMENT ON COLUMN dropcron_report."values".unit IS 'Its unit, where the header says one.';
COMMENT ON COLUMN dropcron_report."values".counts IS 'false: a gap, or somebody rejected it.';
COMMENT ON COLUMN dropcron_report."values".kind IS 'What stood there: number, boolean (0 and 1), or for a gap null, text, list, object.';
COMMENT ON COLUMN dropcron_report."values".suspect IS 'What is odd about it, in words; NULL: nothing.';
COMMENT ON COLUMN dropcron_report."values".breach IS 'true: it breaks an expectation that the header declares.';
COMMENT ON COLUMN dropcron_report."values".verdict IS 'What a person says of it: accepted or rejected.';
COMMENT ON COLUMN dropcron_report."values".verdict_by IS 'Who said so.';
COMMENT ON COLUMN dropcron_report."values".verdict_at IS 'When.';
COMMENT ON COLUMN dropcron_report."values".note IS 'Why, in that person''s words.';
COMMENT ON COLUMN dropcron_report."values".run_id IS 'The run that returned it; NULL: imported.';
COMMENT ON COLUMN dropcron_report."values".attempt IS 'The attempt of that run.';
COMMENT ON COLUMN dropcron_report."values".script_sha256 IS 'The script version that returned it.';
COMMENT ON COLUMN dropcron_report."values".recorded_at IS 'When it was written here.';
COMMENT ON COLUMN dropcron_report."values".day IS 'The day of at, in UTC.';

CREATE VIEW dropcron_report.values_daily AS
SELECT o.task_id, t.name AS task, o.series, (o.at AT TIME ZONE 'UTC')::date AS day, count(*) AS points, min(o.value) AS low,
       max(o.value) AS high, avg(o.value) AS mean, (array_agg(o.value ORDER BY o.at))[1] AS first,
       (array_agg(o.value ORDER BY o.at DESC))[1] AS last, count(o.suspect) AS suspects
  FROM observation o
  LEFT JOIN task t USING (task_id)
 WHERE o.value IS NOT NULL AND o.verdict IS DISTINCT FROM 'rejected'
 GROUP BY o.task_id, t.name, o.series, (o.at AT TIME ZONE 'UTC')::date;
COMMENT ON VIEW dropcron_report.values_daily IS 'The numbers that count of each series, day by day in UTC. Filter on task and series, or on day.';
COMMENT ON COLUMN dropcron_report.values_daily.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.values_daily.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.values_daily.series IS 'The series.';
COMMENT ON COLUMN dropcron_report.values_daily.day IS 'The day, in UTC.';
COMMENT ON COLUMN dropcron_report.values_daily.points IS 'How many numbers it has.';
COMMENT ON COLUMN dropcron_report.values_daily.low IS 'The lowest.';
COMMENT ON COLUMN dropcron_report.values_daily.high IS 'The highest.';
COMMENT ON COLUMN dropcron_report.values_daily.mean IS 'Their mean.';
COMMENT ON COLUMN dropcron_report.values_daily.first IS 'The first of the day.';
COMMENT ON COLUMN dropcron_report.values_daily.last IS 'The last of the day.';
COMMENT ON COLUMN dropcron_report.values_daily.suspects IS 'How many of them are suspect.';

-- ---------- around it ----------

CREATE VIEW dropcron_report.script_versions AS
SELECT e.task_id, coalesce(t.name, e.task_name) AS task, e.after->>'script_sha256' AS script_sha256, e.at AS in_force_since,
       following.at AS in_force_until, e.actor AS changed_by, length(v.content) AS bytes, v.first_seen_at
  FROM task_event e
  LEFT JOIN task t USING (task_id)
  LEFT JOIN script_version v ON v.sha256 = decode(e.after->>'script_sha256', 'hex')
  LEFT JOIN LATERAL (
    SELECT n.at FROM task_event n
     WHERE n.task_id = e.task_id AND n.at >= e.at AND n.event_id > e.event_id
       AND n.after->>'script_sha256' <> e.after->>'script_sha256'
     ORDER BY n.at, n.event_id LIMIT 1) following ON true
 WHERE e.after->>'script_sha256' IS DISTINCT FROM e.before->>'script_sha256' AND e.after ? 'script_sha256';
COMMENT ON VIEW dropcron_report.script_versions IS 'Which version of its script each task ran, from when to when. What it says is printed by dropcron, not here.';
COMMENT ON COLUMN dropcron_report.script_versions.task_id IS 'Number of the task.';
COMMENT ON COLUMN dropcron_report.script_versions.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.script_versions.script_sha256 IS 'SHA-256 of the file, as sha256sum prints it.';
COMMENT ON COLUMN dropcron_report.script_versions.in_force_since IS 'When it came into force.';
COMMENT ON COLUMN dropcron_report.script_versions.in_force_until IS 'When another one did; NULL: it is in force.';
COMMENT ON COLUMN dropcron_report.script_versions.changed_by IS 'Who brought it: most often syncer, for a file that was changed.';
COMMENT ON COLUMN dropcron_report.script_versions.bytes IS 'Its size; NULL: its text is not kept any more.';
COMMENT ON COLUMN dropcron_report.script_versions.first_seen_at IS 'When these bytes were first seen, in any task.';

CREATE VIEW dropcron_report.deliveries AS
SELECT d.delivery_id, d.created_at, d.channel, d.kind, d.state, d.task_id, coalesce(t.name, d.task_name) AS task, d.run_id,
       d.scheduled_for, d.attempt, d.attempts AS tries, CASE WHEN d.state = 'pending' THEN d.next_attempt_at END AS next_try_at,
       d.last_error, d.delivered_at, d.facts
  FROM delivery d
  LEFT JOIN task t USING (task_id);
COMMENT ON VIEW dropcron_report.deliveries IS 'A row for every message to a channel of notifications.';
COMMENT ON COLUMN dropcron_report.deliveries.delivery_id IS 'What the receiver tells repetitions by.';
COMMENT ON COLUMN dropcron_report.deliveries.created_at IS 'When what it tells was written.';
COMMENT ON COLUMN dropcron_report.deliveries.channel IS 'The channel.';
COMMENT ON COLUMN dropcron_report.deliveries.kind IS 'What it tells: failed, recovered, missed, late and the like; test: somebody tried the channel.';
COMMENT ON COLUMN dropcron_report.deliveries.state IS 'pending: to be sent, or sent again. delivered: the channel took it. given_up: it would not for too long.';
COMMENT ON COLUMN dropcron_report.deliveries.task_id IS 'Number of the task; NULL for test.';
COMMENT ON COLUMN dropcron_report.deliveries.task IS 'Name of the task.';
COMMENT ON COLUMN dropcron_report.deliveries.run_id IS 'The run that it tells of.';
COMMENT ON COLUMN dropcron_report.deliveries.scheduled_for IS 'The instant of that.';
COMMENT ON COLUMN dropcron_report.deliveries.attempt IS 'The attempt of that.';
COMMENT ON COLUMN dropcron_report.deliveries.tries IS 'How often it was sent.';
COMMENT ON COLUMN dropcron_report.deliveries.next_try_at IS 'When it is sent next; NULL: not again.';
COMMENT ON COLUMN dropcron_report.deliveries.last_error IS 'Why it could not be delivered last.';
COMMENT ON COLUMN dropcron_report.deliveries.delivered_at IS 'When the channel took it.';
COMMENT ON COLUMN dropcron_report.deliveries.facts IS 'What the message is made of.';

CREATE VIEW dropcron_report.nodes AS
SELECT n.node_id, n.kind, n.host, n.pid, n.version, n.state,
       n.state IN ('live', 'draining') AND n.lease_until > now() AS is_alive, n.started_at, n.heartbeat_at, n.stopped_at,
       (SELECT count(*) FROM run_lease l WHERE l.node_id = n.node_id) AS active_runs, n.max_running, n.queues, n.tags,
       n.clock_offset_ms
  FROM node n;
COMMENT ON VIEW dropcron_report.nodes IS 'A row for each process of dropcron that runs scripts: a restart is a new node.';
COMMENT ON COLUMN dropcron_report.nodes.node_id IS 'Made at process start.';
COMMENT ON COLUMN dropcron_report.nodes.kind IS 'serve: the service. command: one dropcron run in somebody''s terminal.';
COMMENT ON COLUMN dropcron_report.nodes.host IS 'Host name.';
COMMENT ON COLUMN dropcron_report.nodes.pid IS 'Process id on that host.';
COMMENT ON COLUMN dropcron_report.nodes.version IS 'Version of dropcron.';
COMMENT ON COLUMN dropcron_report.nodes.state IS 'live; draining: finishes, takes nothing new; stopped: left in order; dead: its lease ended.';
COMMENT ON COLUMN dropcron_report.nodes.is_alive IS 'Whether its lease holds now.';
COMMENT ON COLUMN dropcron_report.nodes.started_at IS 'Start of the process.';
COMMENT ON COLUMN dropcron_report.nodes.heartbeat_at IS 'Last heartbeat, by the database''s clock.';
COMMENT ON COLUMN dropcron_report.nodes.stopped_at IS 'When it stopped or was found dead.';
COMMENT ON COLUMN dropcron_report.nodes.active_runs IS 'Runs that it holds now.';
COMMENT ON COLUMN dropcron_report.nodes.max_running IS 'How many scripts it runs at once.';
COMMENT ON COLUMN dropcron_report.nodes.queues IS 'Queues it serves.';
COMMENT ON COLUMN dropcron_report.nodes.tags IS 'Tags it offers.';
COMMENT ON COLUMN dropcron_report.nodes.clock_offset_ms IS 'Database clock less its wall clock, milliseconds.';

CREATE VIEW dropcron_report.health AS
SELECT n.alive > 0 AND q.overdue = 0 AND f.overdue = 0 AS is_well, n.alive AS nodes_alive, n.heartbeat_at AS last_heartbeat_at,
       k.tasks, k.problems AS tasks_with_problem, k.paused AS tasks_paused, k.failing AS tasks_failing,
       q.active AS runs_active, q.queued AS runs_queued, q.overdue AS runs_overdue, q.oldest AS oldest_overdue_at,
       f.overdue AS fires_overdue,
       (SELECT count(*) FROM stale_series) AS stale_series,
       (SELECT count(*) FROM observation o WHERE o.suspect IS NOT NULL AND o.verdict IS NULL AND o.breach) AS open_breaches,
       (SELECT count(*) FROM delivery d WHERE d.state = 'pending') AS deliveries_pending,
       (SELECT count(*) FROM delivery d WHERE d.state = 'given_up' AND d.created_at > now() - interval '7 days') AS deliveries_given_up,
       (SELECT min(to_date(right(c.relname, 7), 'YYYY_MM')) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'run_log'::regclass AND c.relname ~ '^run_log_\d{4}_\d{2}$') AS runs_kept_since,
       (SELECT max(day) FROM rolled_up_day) AS rolled_up_until,
       pg_database_size(current_database()) AS database_bytes
  FROM (SELECT count(*) FILTER (WHERE state IN ('live', 'draining') AND lease_until > now() AND kind = 'serve') AS alive,
               max(heartbeat_at) FILTER (WHERE kind = 'serve') AS heartbeat_at FROM node) n
 CROSS JOIN (
   SELECT count(*) AS tasks, count(*) FILTER (WHERE coalesce(t.problem, t.planned_problem) IS NOT NULL) AS problems,
          count(*) FILTER (WHERE t.paused_at IS NOT NULL) AS paused, count(*) FILTER (WHERE c.consecutive_failures > 0) AS failing
     FROM task t LEFT JOIN task_stat c USING (task_id) WHERE t.retired_at IS NULL) k
 CROSS JOIN (
   SELECT count(*) FILTER (WHERE state <> 'queued') AS active, count(*) FILTER (WHERE state = 'queued') AS queued,
          count(*) FILTER (WHERE state = 'queued' AND due_at < now() - interval '1 minute') AS overdue,
          min(due_at) FILTER (WHERE state = 'queued' AND due_at < now() - interval '1 minute') AS oldest
     FROM run_lease) q
 CROSS JOIN (SELECT count(*) AS overdue FROM task_schedule WHERE next_due_at < now() - interval '1 minute') f;
COMMENT ON VIEW dropcron_report.health IS 'One row: whether dropcron does its work, and what waits for people.';
COMMENT ON COLUMN dropcron_report.health.is_well IS 'Whether a service is alive and nothing is overdue. Tasks may fail all the same.';
COMMENT ON COLUMN dropcron_report.health.nodes_alive IS 'Services whose lease holds.';
COMMENT ON COLUMN dropcron_report.health.last_heartbeat_at IS 'The newest heartbeat of any service.';
COMMENT ON COLUMN dropcron_report.health.tasks IS 'Tasks whose file is there.';
COMMENT ON COLUMN dropcron_report.health.tasks_with_problem IS 'Those whose file or schedule has a problem.';
COMMENT ON COLUMN dropcron_report.health.tasks_paused IS 'Those that are paused.';
COMMENT ON COLUMN dropcron_report.health.tasks_failing IS 'Those whose last instant failed.';
COMMENT ON COLUMN dropcron_report.health.runs_active IS 'Runs that a node holds now.';
COMMENT ON COLUMN dropcron_report.health.runs_queued IS 'Runs that wait for a place, or for the pause before a retry.';
COMMENT ON COLUMN dropcron_report.health.runs_overdue IS 'Those of them that should have started more than a minute ago.';
COMMENT ON COLUMN dropcron_report.health.oldest_overdue_at IS 'When the first of these should have started.';
COMMENT ON COLUMN dropcron_report.health.fires_overdue IS 'Tasks that were due more than a minute ago and that nobody has fired.';
COMMENT ON COLUMN dropcron_report.health.stale_series IS 'Series of values without a new number for longer than they may.';
COMMENT ON COLUMN dropcron_report.health.open_breaches IS 'Values that break what their header expects and of which nobody has said anything.';
COMMENT ON COLUMN dropcron_report.health.deliveries_pending IS 'Notifications that are still to be delivered.';
COMMENT ON COLUMN dropcron_report.health.deliveries_given_up IS 'Notifications of the last 7 days that could not be delivered.';
COMMENT ON COLUMN dropcron_report.health.runs_kept_since IS 'The run log goes back to this day; of earlier ones there are daily figures and values.';
COMMENT ON COLUMN dropcron_report.health.rolled_up_until IS 'The newest day whose figures in daily are final.';
COMMENT ON COLUMN dropcron_report.health.database_bytes IS 'Size of the whole database.';

-- ---------- to act ----------

CREATE FUNCTION request_run(task_id bigint, requested_by text, args jsonb, as_of timestamptz, node_id uuid, force boolean, now timestamptz)
RETURNS TABLE (run_id bigint, scheduled_for timestamptz, claimed boolean, skipped text) LANGUAGE sql AS $$
  WITH parameter AS (
    SELECT request_run.task_id, request_run.requested_by, request_run.args, request_run.as_of, request_run.node_id,
           request_run.force, request_run.now
  ), wanted AS MATERIALIZED (
    SELECT nextval('run_id_sequence') AS run_id, p.*, t.name, t.queue, t.required_tags, t.overlap, t.max_running,
           t.script_sha256, t.concurrency_group
      FROM parameter p JOIN task t USING (task_id)
       FOR NO KEY UPDATE OF t
  ), decided AS MATERIALIZED (
    SELECT w.*, f.slot, CASE WHEN f.slot IS NOT NULL AND w.node_id IS NOT NULL THEN g.slot END AS group_slot,
           b.run_id AS blocking_run_id, b.state AS blocking_state,
           CASE WHEN w.force THEN 'start'
                WHEN f.slot IS NOT NULL THEN 'start'
                WHEN w.overlap = 'replace' OR (w.overlap = 'queue' AND NOT EXISTS
                     (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot IS NULL AND NOT l.exempt AND NOT l.serial AND l.attempt = 1)) THEN 'wait'
                ELSE 'skip' END AS verdict
      FROM wanted w
      LEFT JOIN LATERAL (
        SELECT s AS slot
          FROM generate_series(1, coalesce((SELECT c.max_running FROM concurrency_group c
                                             WHERE c.group_name = w.concurrency_group), 1)::integer) AS s
         WHERE w.concurrency_group IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.group_name = w.concurrency_group AND l.group_slot = s)
         ORDER BY s LIMIT 1) g ON true
      LEFT JOIN LATERAL (
        SELECT s AS slot FROM generate_series(1, w.max_running::integer) AS s
         WHERE NOT w.force
           AND NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot = s)
           AND NOT EXISTS (SELECT 1 FROM run_lease l WHERE l.task_id = w.task_id AND l.slot IS NULL AND NOT l.exempt AND NOT l.serial AND l.attempt = 1)
           AND (w.concurrency_group IS NULL OR g.slot IS NOT NULL)
         ORDER BY s LIMIT 1) f ON true
      LEFT JOIN LATERAL (
        SELECT l.run_id, CASE l.state WHEN 'claimed' THEN 'starting' ELSE l.state END AS state
          FROM run_lease l
         WHERE l.task_id = w.task_id OR (l.group_name = w.concurrency_group AND l.group_slot IS NOT NULL)
         ORDER BY l.task_id = w.task_id AND (l.slot IS NOT NULL OR (NOT l.exempt AND NOT l.serial AND l.attempt = 1)) DESC,
                  l.group_slot IS NOT NULL DESC, l.run_id LIMIT 1) b ON true
  ), replaced AS (
    UPDATE run_lease l SET cancel_requested_at = d.now, cancel_requested_by = 'run ' || d.run_id, cancel_reason = 'replaced'
      FROM decided d
     WHERE d.verdict = 'wait' AND d.overlap = 'replace' AND l.task_id = d.task_id AND NOT l.serial AND NOT l.exempt
       AND l.cancel_requested_at IS NULL
  ), lease AS (
    INSERT INTO run_lease AS l (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags,
                                node_id, slot, group_name, group_slot, exempt, args, as_of)
    SELECT d.run_id, d.task_id, d.now, 1, 'manual',
           CASE WHEN d.verdict = 'start' AND d.node_id IS NOT NULL THEN 'claimed' ELSE 'queued' END, d.now, d.queue, d.required_tags,
           CASE WHEN d.verdict = 'start' THEN d.node_id END, d.slot,
           CASE WHEN d.group_slot IS NOT NULL THEN d.concurrency_group END, d.group_slot, d.force, d.args, d.as_of
      FROM decided d WHERE d.verdict IN ('start', 'wait')
  ), logged AS (
    INSERT INTO run_log AS r (run_id, task_id, task_name, scheduled_for, trigger, status, reason, detail, as_of, node_id,
                              queued_at, due_at, finished_at, blocking_run_id, script_sha256, args, requested_by)
    SELECT d.run_id, d.task_id, d.name, d.now, 'manual',
           CASE d.verdict WHEN 'skip' THEN 'skipped' ELSE 'queued' END, CASE d.verdict WHEN 'skip' THEN 'overlap' END,
           CASE WHEN d.verdict = 'skip' THEN format('run %s was still %s', d.blocking_run_id, d.blocking_state)
                WHEN d.force AND d.blocking_run_id IS NOT NULL THEN format('forced beside run %s', d.blocking_run_id) END,
           d.as_of, CASE WHEN d.verdict = 'start' THEN d.node_id END, d.now, d.now,
           CASE d.verdict WHEN 'skip' THEN d.now END, CASE WHEN d.verdict = 'skip' THEN d.blocking_run_id END,
           d.script_sha256, d.args, d.requested_by
      FROM decided d
    RETURNING r.run_id, r.scheduled_for, CASE r.status WHEN 'skipped' THEN r.detail END AS skipped
  ), woken AS (
    SELECT pg_notify(current_schema() || '_wake', 'run') FROM decided
  )
  SELECT g.run_id, g.scheduled_for, d.verdict = 'start' AND d.node_id IS NOT NULL, g.skipped
    FROM logged g JOIN decided d USING (run_id), woken
$$;
COMMENT ON FUNCTION request_run(bigint, text, jsonb, timestamptz, uuid, boolean, timestamptz) IS 'Somebody asks for a run now. It is queued, or claimed at once for the node that asks, if its task has a free slot and so has its group; else the task''s overlap policy speaks, as for a due instant. force starts it beside the others. The group''s slot is taken with the claim; a run that is queued for all gets it from whoever claims it. skipped: why it does not run.';

CREATE FUNCTION find_task(asked_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  found_id bigint;
  similar_names text;
BEGIN
  SELECT t.task_id INTO found_id FROM task t WHERE t.name = asked_name AND t.retired_at IS NULL;
  IF found_id IS NULL THEN
    SELECT string_agg(format('`%s`', s.name), ', ') INTO similar_names
      FROM (SELECT t.name FROM task t
             WHERE t.retired_at IS NULL AND asked_name <> ''
               AND (strpos(lower(t.name), lower(asked_name)) > 0 OR strpos(lower(asked_name), lower(t.name)) > 0
                    OR lower(regexp_replace(t.name, '.*/', '')) = lower(regexp_replace(asked_name, '.*/', '')))
             ORDER BY length(t.name), t.name LIMIT 3) s;
    RAISE EXCEPTION 'there is no task `%`', coalesce(asked_name, 'NULL')
      USING ERRCODE = 'no_data_found',
            HINT = coalesce('did you mean ' || similar_names || '? ', '') || 'dropcron_report.tasks lists them';
  END IF;
  RETURN found_id;
END $$;
COMMENT ON FUNCTION find_task(text) IS 'The number of the task of this name whose file is there; an error that says what to do if there is none.';

CREATE FUNCTION dropcron_report.run_now(task text, args jsonb DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = dropcron, pg_temp AS $$
DECLARE
  asked_id bigint := find_task(run_now.task);
  asked record;
BEGIN
  IF jsonb_typeof(run_now.args) <> 'object' THEN
    RAISE EXCEPTION 'args is a JSON %, not an object', jsonb_typeof(run_now.args)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'keyword arguments of run() are given as {"name": value}';
  END IF;
  PERFORM ensure_run_log_partition(clock_timestamp());
  -- Somebody may take the same slot in the same moment: then nothing was done, and asking again helps.
  FOR try IN 1..5 LOOP
    BEGIN
      SELECT * INTO asked FROM request_run(asked_id, session_user, run_now.args, NULL, NULL, false, clock_timestamp());
      EXIT;
    EXCEPTION WHEN unique_violation THEN
      IF try = 5 THEN RAISE; END IF;
    END;
  END LOOP;
  IF asked.skipped IS NOT NULL THEN
    RAISE NOTICE 'run % does not take place: %', asked.run_id, asked.skipped;
  END IF;
  RETURN asked.run_id;
END $$;
COMMENT ON FUNCTION dropcron_report.run_now(text, jsonb) IS 'Asks for a run of a task now, with keyword arguments over those of its header; returns its number, by which runs tells what became of it. Beside a run that is active the overlap policy of the task speaks.';

CREATE FUNCTION dropcron_report.pause(task text, reason text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = dropcron, pg_temp AS $$
DECLARE
  asked_id bigint := find_task(pause.task);
BEGIN
  UPDATE task t SET paused_at = clock_timestamp(), paused_by = session_user, paused_reason = pause.reason
   WHERE t.task_id = asked_id AND t.paused_at IS NULL;
  IF NOT FOUND THEN
    RAISE NOTICE '`%` is paused already', pause.task;
  END IF;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION dropcron_report.pause(text, text) IS 'Stops a task from firing, until resume. false: it is paused already, and stays as it is.';

CREATE FUNCTION dropcron_report.resume(task text) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = dropcron, pg_temp AS $$
DECLARE
  asked_id bigint := find_task(resume.task);
  claimed_actor text := current_setting('dropcron.actor', true);
  is_resumed boolean;
BEGIN
  -- Anybody can set it: the event is to name who is connected.
  PERFORM set_config('dropcron.actor', session_user, true);
  UPDATE task t SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE t.task_id = asked_id AND t.paused_at IS NOT NULL;
  is_resumed := FOUND;
  PERFORM set_config('dropcron.actor', coalesce(claimed_actor, ''), true);
  IF NOT is_resumed THEN
    RAISE NOTICE '`%` is not paused', resume.task;
  END IF;
  RETURN is_resumed;
END $$;
COMMENT ON FUNCTION dropcron_report.resume(text) IS 'Lets a paused task fire again, from now on: a pause is never replayed. false: it is not paused.';

CREATE FUNCTION dropcron_report.cancel(run_id bigint) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = dropcron, pg_temp AS $$
DECLARE
  current_status text;
  is_asked boolean;
BEGIN
  SELECT r.status INTO current_status FROM run_log r WHERE r.run_id = cancel.run_id;
  IF current_status IS NULL THEN
    RAISE EXCEPTION 'there is no run %', coalesce(cancel.run_id::text, 'NULL')
      USING ERRCODE = 'no_data_found', HINT = 'dropcron_report.runs lists them';
  END IF;
  UPDATE run_lease l SET cancel_requested_at = clock_timestamp(), cancel_requested_by = session_user, cancel_reason = 'requested'
   WHERE l.run_id = cancel.run_id AND l.cancel_requested_at IS NULL;
  is_asked := FOUND;
  IF NOT is_asked THEN
    RAISE NOTICE 'run % is % already', cancel.run_id,
      CASE WHEN EXISTS (SELECT FROM run_lease l WHERE l.run_id = cancel.run_id) THEN 'asked to stop' ELSE current_status END;
  END IF;
  RETURN is_asked;
END $$;
COMMENT ON FUNCTION dropcron_report.cancel(bigint) IS 'Asks that a run be stopped, wherever it runs; or that it does not start, if it waits. false: it has ended, or was asked already.';

-- Whoever may use the database may not act: only who is given the role below.
REVOKE ALL ON FUNCTION dropcron_report.run_now(text, jsonb), dropcron_report.pause(text, text), dropcron_report.resume(text),
  dropcron_report.cancel(bigint) FROM PUBLIC;

-- ---------- who may ----------

-- As `dropcron roles --sql` prints it. Where this database lets nobody make roles, that is for somebody else to run.
DO $$
DECLARE
  role_name text;
BEGIN
  -- Roles belong to the whole server: another database of dropcron may have made them, or makes them right now.
  FOREACH role_name IN ARRAY ARRAY['dropcron_reader', 'dropcron_operator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
  GRANT USAGE ON SCHEMA dropcron_report TO dropcron_reader, dropcron_operator;
  GRANT SELECT ON ALL TABLES IN SCHEMA dropcron_report TO dropcron_reader;
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dropcron_report TO dropcron_operator;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'the roles of dropcron_report cannot be made by this role: see dropcron roles --sql';
END $$;
