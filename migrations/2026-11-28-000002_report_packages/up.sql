-- The contract learns of packages: which lock a run had, and which tasks wait for packages or cannot have them.

CREATE OR REPLACE VIEW dropcron_report.runs AS
SELECT r.run_id, r.task_id, t.name AS task, r.task_name AS task_then, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason,
       r.detail, r.as_of, r.due_at, r.started_at, r.finished_at, r.duration_ms, r.start_delay_ms, r.missed_count, r.missed_until,
       r.blocking_run_id, r.return_value, r.error_type,
       split_part(r.error, E'\n', 1) AS error_line, r.error, r.traceback, r.warnings, r.exit_code, r.signal, r.cpu_ms,
       r.max_rss_kb, r.args, r.requested_by, r.node_id, n.host, encode(r.script_sha256, 'hex') AS script_sha256, coalesce(r.python, n.python) AS python,
       r.late_report, r.queued_at, encode(r.lock_sha256, 'hex') AS lock_sha256
  FROM run_log r
  LEFT JOIN task t USING (task_id)
  LEFT JOIN node n USING (node_id);
COMMENT ON COLUMN dropcron_report.runs.python IS 'Version of the Python that ran it; for runs that never started that of the node.';
COMMENT ON COLUMN dropcron_report.runs.lock_sha256 IS 'The packages that it had: runs with the same had the same. NULL: none, or it never started.';

CREATE OR REPLACE VIEW dropcron_report.tasks AS
SELECT t.task_id, t.name AS task,
       CASE WHEN coalesce(t.problem, t.planned_problem, e.problem) IS NOT NULL THEN 'problem'
            WHEN t.paused_at IS NOT NULL THEN 'paused'
            WHEN NOT t.enabled THEN 'disabled'
            WHEN e.state = 'building' THEN 'building'
            WHEN l.state = 'running' THEN 'running'
            WHEN l.state IS NOT NULL THEN 'queued'
            WHEN cardinality(coalesce(t.schedule_override, t.schedule)) = 0 THEN 'manual only'
            ELSE 'ready' END AS state,
       coalesce(t.problem, t.planned_problem, e.problem) AS problem,
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
  LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
  LEFT JOIN LATERAL (SELECT run_id, state FROM run_lease l WHERE l.task_id = t.task_id ORDER BY run_id LIMIT 1) l ON true
 WHERE t.retired_at IS NULL;
COMMENT ON COLUMN dropcron_report.tasks.state IS 'problem, paused, disabled, building, running, queued, manual only, or ready: the first that holds.';
COMMENT ON COLUMN dropcron_report.tasks.problem IS 'What is wrong with its file, its schedule or its packages; the last good version goes on. NULL: nothing.';

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
   SELECT count(*) AS tasks, count(*) FILTER (WHERE coalesce(t.problem, t.planned_problem, e.problem) IS NOT NULL) AS problems,
          count(*) FILTER (WHERE t.paused_at IS NOT NULL) AS paused, count(*) FILTER (WHERE c.consecutive_failures > 0) AS failing
     FROM task t LEFT JOIN task_stat c USING (task_id)
     LEFT JOIN environment e ON e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256)
    WHERE t.retired_at IS NULL) k
 CROSS JOIN (
   SELECT count(*) FILTER (WHERE state <> 'queued') AS active, count(*) FILTER (WHERE state = 'queued') AS queued,
          count(*) FILTER (WHERE state = 'queued' AND due_at < now() - interval '1 minute') AS overdue,
          min(due_at) FILTER (WHERE state = 'queued' AND due_at < now() - interval '1 minute') AS oldest
     FROM run_lease) q
 CROSS JOIN (SELECT count(*) AS overdue FROM task_schedule WHERE next_due_at < now() - interval '1 minute') f;
COMMENT ON COLUMN dropcron_report.health.tasks_with_problem IS 'Those whose file, schedule or packages have a problem.';
