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

ALTER TABLE run_log DROP COLUMN is_pinned;

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

CREATE OR REPLACE VIEW dropcron_report.latest AS
SELECT t.task_id, t.name AS task, r.run_id, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.due_at,
       r.started_at, r.finished_at, r.duration_ms, r.start_delay_ms, r.return_value, r.error_type,
       split_part(r.error, E'\n', 1) AS error_line
  FROM task t
 CROSS JOIN LATERAL (SELECT r.run_id, r.scheduled_for, r.attempt, r.trigger, r.status, r.reason, r.detail, r.due_at, r.started_at, r.finished_at,
                           r.duration_ms, r.start_delay_ms, r.return_value, r.error_type, r.error
                      FROM run_log r WHERE r.task_id = t.task_id ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT 1) r
 WHERE t.retired_at IS NULL;

CREATE OR REPLACE VIEW dropcron_report.failures_today AS
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

CREATE OR REPLACE VIEW dropcron_report.late AS
SELECT r.run_id, r.task_id, t.name AS task, r.scheduled_for, r.attempt, r.trigger, r.status, r.due_at, r.started_at,
       extract(epoch FROM coalesce(r.started_at, now()) - r.due_at)::double precision * 1000 AS start_delay_ms,
       coalesce(t.late_after_seconds * 1000, 1000) AS late_after_ms
  FROM run_log r
  LEFT JOIN task t USING (task_id)
 WHERE (r.start_delay_ms > coalesce(t.late_after_seconds * 1000, 1000)
        OR (r.status = 'queued' AND r.due_at < now() - make_interval(secs => coalesce(t.late_after_seconds, 1))));

CREATE OR REPLACE VIEW dropcron_report.daily AS
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

CREATE OR REPLACE VIEW dropcron_report.script_versions AS
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
