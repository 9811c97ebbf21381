CREATE OR REPLACE VIEW dropcron_report.health AS
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
COMMENT ON COLUMN dropcron_report.health.tasks_with_problem IS 'Those whose file or schedule has a problem.';

CREATE OR REPLACE VIEW dropcron_report.tasks AS
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
COMMENT ON COLUMN dropcron_report.tasks.state IS 'problem, paused, disabled, running, queued, manual only, or ready: the first that holds.';
COMMENT ON COLUMN dropcron_report.tasks.problem IS 'What is wrong with its file or its schedule; the last good version goes on. NULL: nothing.';

-- Columns cannot be taken from a view that stays.
DROP VIEW dropcron_report.runs;
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
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'dropcron_reader') THEN
    GRANT SELECT ON dropcron_report.runs TO dropcron_reader;
  END IF;
END $$;
