-- Notifications: what tasks ask for, and a row for every message that is to be delivered.
--
-- A delivery is inserted by the statement that writes the fact it tells of, so that none is lost and none is made twice; a loop of
-- every node sends them. Nothing here wakes anybody: statements that end or fire runs must not wait for a queue of NOTIFY.

ALTER TABLE task
  ADD COLUMN notify_after       integer NOT NULL DEFAULT 1 CHECK (notify_after BETWEEN 1 AND 1000),
  ADD COLUMN notify_recovery    boolean NOT NULL DEFAULT true,
  ADD COLUMN notify_to          text[] NOT NULL DEFAULT '{}',
  ADD COLUMN late_after_seconds double precision CHECK (late_after_seconds > 0);
COMMENT ON COLUMN task.notify_after IS 'After so many failures in a row the channels are told, once.';
COMMENT ON COLUMN task.notify_recovery IS 'Whether the success that ends such a row of failures is told too.';
COMMENT ON COLUMN task.notify_to IS 'Channels that are told; empty: nobody.';
COMMENT ON COLUMN task.late_after_seconds IS 'A run that starts later than this after it was due is told; NULL: lateness is not.';

ALTER TABLE task_stat
  ADD COLUMN alerted_run_id   bigint,
  ADD COLUMN recovered_run_id bigint;
COMMENT ON COLUMN task_stat.consecutive_failures IS 'Failures since then. An instant that is tried several times fails once, with its last attempt.';
COMMENT ON COLUMN task_stat.alerted_run_id IS 'The failure that the channels were told of and that no success has followed yet; NULL: none.';
COMMENT ON COLUMN task_stat.recovered_run_id IS 'The success that ended the last failures that the channels were told of.';

CREATE TABLE delivery (
  delivery_id     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  channel         text NOT NULL CHECK (length(channel) BETWEEN 1 AND 200),
  kind            text NOT NULL CHECK (kind IN ('failed', 'recovered', 'missed', 'late', 'test')),
  task_id         bigint,
  task_name       text,
  run_id          bigint,
  scheduled_for   timestamptz,
  attempt         smallint,
  facts           jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
  state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
  attempts        integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  claimed_by      uuid,
  claimed_until   timestamptz,
  last_error      text,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  delivered_at    timestamptz,
  CONSTRAINT delivery_once UNIQUE (run_id, kind, channel),
  CONSTRAINT delivery_subject CHECK (kind = 'test' OR (task_id IS NOT NULL AND task_name IS NOT NULL AND run_id IS NOT NULL)),
  CONSTRAINT delivery_delivered CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX delivery_pending ON delivery (channel, next_attempt_at) WHERE state = 'pending';
CREATE INDEX delivery_created ON delivery (created_at DESC);
COMMENT ON TABLE delivery IS 'A row for every message to a channel: what it tells, and how its delivery stands. Sent at least once, by one node at a time.';
COMMENT ON COLUMN delivery.delivery_id IS 'What the receiver tells repetitions by: part of the message, and its header Idempotency-Key.';
COMMENT ON COLUMN delivery.channel IS 'The channel, as the file of channels names it.';
COMMENT ON COLUMN delivery.kind IS 'failed: as often in a row as the task says. recovered: a success after that. missed: instants that were not run. late: a run that did not start in time. test: somebody tries the channel.';
COMMENT ON COLUMN delivery.task_id IS 'The task; NULL for test. No foreign key: history outlives it.';
COMMENT ON COLUMN delivery.task_name IS 'Its name then.';
COMMENT ON COLUMN delivery.run_id IS 'The run, or the row of the run log, that it tells of.';
COMMENT ON COLUMN delivery.scheduled_for IS 'The instant of that row.';
COMMENT ON COLUMN delivery.attempt IS 'The attempt of that row.';
COMMENT ON COLUMN delivery.facts IS 'What the message is made of: status, reason, error, times and counts, as they were. Secrets are masked as in the run log.';
COMMENT ON COLUMN delivery.state IS 'pending: to be sent, or sent again. delivered: the channel took it. given_up: it would not for too long.';
COMMENT ON COLUMN delivery.attempts IS 'How often it was tried.';
COMMENT ON COLUMN delivery.next_attempt_at IS 'When it is tried next.';
COMMENT ON COLUMN delivery.claimed_by IS 'The node, or the command, that sends it now or did so last.';
COMMENT ON COLUMN delivery.claimed_until IS 'Until then nobody else sends it; NULL: nobody sends it.';
COMMENT ON COLUMN delivery.last_error IS 'Why the last try failed.';
COMMENT ON COLUMN delivery.created_at IS 'When what it tells was written.';
COMMENT ON COLUMN delivery.delivered_at IS 'When the channel took it.';
COMMENT ON INDEX delivery_pending IS 'What is to be sent, channel by channel.';
COMMENT ON INDEX delivery_created IS 'The newest deliveries, and those that are due to be given up.';

CREATE FUNCTION add_deliveries(kinds text[], task_ids bigint[], run_ids bigint[], scheduled_for timestamptz[], failures integer[])
RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  -- Instants of one task that are found missed together are one message.
  INSERT INTO delivery (channel, kind, task_id, task_name, run_id, scheduled_for, attempt, facts)
  SELECT c.channel, told.kind, told.task_id, r.task_name, r.run_id, r.scheduled_for, r.attempt,
         jsonb_strip_nulls(jsonb_build_object(
           'status', r.status, 'reason', r.reason, 'detail', r.detail, 'trigger', r.trigger,
           'error_type', r.error_type, 'error', left(r.error, 4000), 'exit_code', r.exit_code, 'signal', r.signal,
           'due_at', r.due_at, 'started_at', r.started_at, 'finished_at', r.finished_at, 'duration_ms', r.duration_ms,
           'failures', told.failures,
           'late_seconds', CASE told.kind WHEN 'late' THEN extract(epoch FROM coalesce(r.started_at, clock_timestamp()) - r.due_at) END,
           'missed_count', CASE told.kind WHEN 'missed' THEN told.missed_count END,
           'missed_until', CASE told.kind WHEN 'missed' THEN told.missed_until END,
           'blocking_run_id', r.blocking_run_id,
           'timezone', coalesce(t.timezone_override, t.timezone), 'owner', t.owner, 'description', t.description))
    FROM (SELECT i.kind, i.task_id, max(i.failures) AS failures,
                 (array_agg(l.run_id ORDER BY l.scheduled_for, l.run_id))[1] AS run_id, min(l.scheduled_for) AS scheduled_for,
                 sum(coalesce(l.missed_count, 1)) AS missed_count,
                 max(coalesce(l.missed_until, l.scheduled_for)) AS missed_until
            FROM unnest(add_deliveries.kinds, add_deliveries.task_ids, add_deliveries.run_ids, add_deliveries.scheduled_for,
                        add_deliveries.failures) AS i(kind, task_id, run_id, scheduled_for, failures)
            JOIN run_log l ON l.task_id = i.task_id AND l.scheduled_for = i.scheduled_for AND l.run_id = i.run_id
           GROUP BY i.kind, i.task_id, CASE i.kind WHEN 'missed' THEN 0 ELSE i.run_id END) told
    JOIN run_log r ON r.task_id = told.task_id AND r.scheduled_for = told.scheduled_for AND r.run_id = told.run_id
    JOIN task t ON t.task_id = told.task_id
    CROSS JOIN LATERAL unnest(t.notify_to) AS c(channel)
   -- Whatever somebody wrote into the array in psql: it must not keep the end of a run from being written.
   WHERE length(c.channel) BETWEEN 1 AND 200
   ORDER BY r.run_id
  ON CONFLICT (run_id, kind, channel) DO NOTHING;
END $$;
COMMENT ON FUNCTION add_deliveries(text[], bigint[], bigint[], timestamptz[], integer[]) IS 'Adds the deliveries that tell of rows of the run log to the channels of their tasks. What is there already stays as it is.';

CREATE FUNCTION is_first_late(asked_task_id bigint, asked_scheduled_for timestamptz, late_after_seconds double precision)
RETURNS boolean LANGUAGE sql STABLE AS $$
  -- A task that is due every second and late for an hour is one message: its run before this one was in time.
  SELECT NOT coalesce((
    SELECT coalesce(r.started_at, r.finished_at, clock_timestamp()) - r.due_at > make_interval(secs => late_after_seconds)
      FROM run_log r
     WHERE r.task_id = asked_task_id AND r.scheduled_for < asked_scheduled_for
       AND r.attempt = 1 AND r.trigger IN ('schedule', 'catch_up') AND r.status NOT IN ('skipped', 'missed')
     ORDER BY r.scheduled_for DESC LIMIT 1), false)
$$;
COMMENT ON FUNCTION is_first_late(bigint, timestamptz, double precision) IS 'Whether the run of a task before this instant started in time.';

DROP FUNCTION count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[]);
CREATE FUNCTION count_ends(task_ids bigint[], run_ids bigint[], scheduled_for timestamptz[], statuses text[],
                           finished_at timestamptz[], durations_ms double precision[], late_reports boolean[],
                           followed text[] DEFAULT NULL)
-- One plan for a session: to make another for every handful of ends costs more than the ends.
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  is_telling boolean := EXISTS (SELECT 1 FROM task t WHERE t.task_id = ANY (count_ends.task_ids) AND t.notify_to <> '{}');
  part record;
  told record;
BEGIN
  -- Who is told of what depends on the order of ends: those of one task are then counted one after another.
  IF is_telling AND (SELECT count(*) > count(DISTINCT task_id) FROM unnest(count_ends.task_ids) AS i(task_id)) THEN
    FOR part IN
      SELECT array_agg(task_id) AS task_ids, array_agg(run_id) AS run_ids, array_agg(scheduled_for) AS scheduled_for,
             array_agg(status) AS statuses, array_agg(finished_at) AS finished_at, array_agg(duration_ms) AS durations_ms,
             array_agg(late_report) AS late_reports, array_agg(followed) AS followed
        FROM (SELECT *, row_number() OVER (PARTITION BY task_id ORDER BY finished_at, run_id) AS place
                FROM unnest(count_ends.task_ids, count_ends.run_ids, count_ends.scheduled_for, count_ends.statuses,
                            count_ends.finished_at, count_ends.durations_ms, count_ends.late_reports, count_ends.followed)
                  AS i(task_id, run_id, scheduled_for, status, finished_at, duration_ms, late_report, followed)) i
       GROUP BY place ORDER BY place
    LOOP
      PERFORM count_ends(part.task_ids, part.run_ids, part.scheduled_for, part.statuses, part.finished_at, part.durations_ms,
                         part.late_reports, part.followed);
    END LOOP;
    RETURN;
  END IF;
  -- A late report corrects an end that was counted before, as lost: one failure. An attempt that another one follows is no
  -- failure of its instant yet; if that other one is dropped, it is.
  WITH input AS (
    SELECT i.*, i.status IN ('failed', 'timed_out', 'lost') AS is_failure,
           NOT i.late_report AND i.followed IS DISTINCT FROM 'dropped' AS is_new,
           NOT i.late_report AND i.followed IS DISTINCT FROM 'queued' AS is_last, s.last_success_at AS prior_success_at,
           s.consecutive_failures AS prior_failures
      FROM unnest(count_ends.task_ids, count_ends.run_ids, count_ends.scheduled_for, count_ends.statuses,
                  count_ends.finished_at, count_ends.durations_ms, count_ends.late_reports, count_ends.followed)
        AS i(task_id, run_id, scheduled_for, status, finished_at, duration_ms, late_report, followed)
      LEFT JOIN task_stat s USING (task_id)
  ), success AS (
    SELECT task_id, max(finished_at) AS success_at FROM input WHERE status = 'succeeded' GROUP BY task_id
  ), newest AS (
    SELECT DISTINCT ON (task_id) * FROM input ORDER BY task_id, finished_at DESC, run_id DESC
  ), total AS (
    SELECT i.task_id, s.success_at,
           count(*) FILTER (WHERE i.is_failure AND i.is_last
                              AND i.finished_at > coalesce(greatest(s.success_at, i.prior_success_at), '-infinity')) AS failures_since,
           count(*) FILTER (WHERE i.is_new) AS runs,
           count(*) FILTER (WHERE i.is_failure AND i.is_new)
             - count(*) FILTER (WHERE NOT i.is_failure AND i.late_report) AS failures
      FROM input i LEFT JOIN success s USING (task_id) GROUP BY i.task_id, s.success_at
  ), counted AS (
    INSERT INTO task_stat AS s (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms,
                                last_success_at, consecutive_failures, runs_total, failures_total, alerted_run_id)
    SELECT t.task_id, n.run_id, n.scheduled_for, n.status, n.finished_at, n.duration_ms, t.success_at, t.failures_since, t.runs,
           greatest(t.failures, 0),
           CASE WHEN is_telling AND t.failures_since > 0
                     AND EXISTS (SELECT 1 FROM task k WHERE k.task_id = t.task_id AND k.notify_to <> '{}'
                                    AND t.failures_since >= k.notify_after) THEN n.run_id END
      FROM total t JOIN newest n USING (task_id) ORDER BY t.task_id
    ON CONFLICT (task_id) DO UPDATE SET
      (last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms, consecutive_failures, alerted_run_id,
       recovered_run_id) =
        (SELECT CASE WHEN newer THEN excluded.last_run_id ELSE s.last_run_id END,
                CASE WHEN newer THEN excluded.last_scheduled_for ELSE s.last_scheduled_for END,
                CASE WHEN newer THEN excluded.last_status ELSE s.last_status END,
                CASE WHEN newer THEN excluded.last_finished_at ELSE s.last_finished_at END,
                CASE WHEN newer THEN excluded.last_duration_ms ELSE s.last_duration_ms END,
                failures,
                -- Told once for a row of failures, also if the task's number of them has changed meanwhile.
                CASE WHEN NOT ended AND s.alerted_run_id IS NOT NULL THEN s.alerted_run_id
                     WHEN is_telling AND excluded.consecutive_failures > 0
                          AND EXISTS (SELECT 1 FROM task k WHERE k.task_id = s.task_id AND k.notify_to <> '{}'
                                         AND failures >= k.notify_after) THEN excluded.last_run_id END,
                CASE WHEN ended AND s.alerted_run_id IS NOT NULL THEN excluded.last_run_id ELSE s.recovered_run_id END
           FROM (SELECT *, excluded.consecutive_failures + CASE WHEN ended THEN 0 ELSE s.consecutive_failures END AS failures
                   FROM (SELECT (excluded.last_finished_at >= s.last_finished_at OR excluded.last_run_id = s.last_run_id
                                 OR s.last_finished_at IS NULL) AS newer,
                                -- A success ends the count, unless something that ended after it was counted already.
                                coalesce(excluded.last_success_at >= s.last_finished_at
                                         OR (s.last_run_id = excluded.last_run_id AND excluded.last_status = 'succeeded'),
                                         false) AS ended) e) n),
      last_success_at = greatest(s.last_success_at, excluded.last_success_at),
      runs_total = s.runs_total + excluded.runs_total,
      failures_total = greatest(s.failures_total + (SELECT t.failures FROM total t WHERE t.task_id = s.task_id), 0)
    RETURNING s.task_id, s.consecutive_failures, s.alerted_run_id, s.recovered_run_id
  ), message AS (
    SELECT k.kind, i.task_id, i.run_id, i.scheduled_for, k.failures
      FROM counted c JOIN input i USING (task_id) JOIN task t USING (task_id)
      CROSS JOIN LATERAL (
        SELECT 'failed' AS kind, c.consecutive_failures AS failures WHERE c.alerted_run_id = i.run_id AND i.is_last
        UNION ALL
        SELECT 'recovered', i.prior_failures WHERE c.recovered_run_id = i.run_id AND i.status = 'succeeded' AND t.notify_recovery
        UNION ALL
        SELECT 'missed', NULL WHERE i.status = 'skipped'
        UNION ALL
        SELECT 'late', NULL FROM run_log r
         WHERE t.late_after_seconds IS NOT NULL
           AND r.task_id = i.task_id AND r.scheduled_for = i.scheduled_for AND r.run_id = i.run_id
           AND r.attempt = 1 AND r.trigger IN ('schedule', 'catch_up')
           AND r.started_at > r.due_at + make_interval(secs => t.late_after_seconds)
           AND is_first_late(r.task_id, r.scheduled_for, t.late_after_seconds)) k
     WHERE is_telling AND t.notify_to <> '{}'
  )
  SELECT array_agg(kind) AS kinds, array_agg(task_id) AS task_ids, array_agg(run_id) AS run_ids,
         array_agg(scheduled_for) AS scheduled_for, array_agg(failures) AS failures
    INTO told FROM message;
  IF told.kinds IS NOT NULL THEN
    PERFORM add_deliveries(told.kinds, told.task_ids, told.run_ids, told.scheduled_for, told.failures);
  END IF;
END $$;
COMMENT ON FUNCTION count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[], text[]) IS 'Counts ends of attempts in task_stat, and adds the deliveries that tell of them. Failures are failed, timed_out and lost; an end that is older than the newest one known only counts. followed: queued, another attempt follows; dropped, the one that was to follow is not made, and this end was counted before.';

CREATE FUNCTION count_dropped(task_ids bigint[], scheduled_for timestamptz[], attempts smallint[]) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM count_ends(array_agg(r.task_id), array_agg(r.run_id), array_agg(r.scheduled_for), array_agg(r.status),
                     array_agg(r.finished_at), array_agg(r.duration_ms), array_agg(false), array_agg('dropped'::text))
     FROM unnest(count_dropped.task_ids, count_dropped.scheduled_for, count_dropped.attempts) AS i(task_id, scheduled_for, attempt)
     JOIN run_log r ON r.task_id = i.task_id AND r.scheduled_for = i.scheduled_for AND r.attempt = i.attempt - 1
    WHERE r.status IN ('failed', 'timed_out', 'lost')
   HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION count_dropped(bigint[], timestamptz[], smallint[]) IS 'Attempts that waited for their pause to end are not made: the attempts before them were the last of their instants, and count now.';
