DROP FUNCTION drop_partition(text, integer);
DROP FUNCTION partition_rows(text);
DROP FUNCTION partitions();
DROP FUNCTION roll_up(date);
DROP FUNCTION run_days(date, date);
DELETE FROM duty WHERE duty = 'retention';
ALTER TABLE duty DROP CONSTRAINT duty_duty_check;
ALTER TABLE duty ADD CONSTRAINT duty_duty_check CHECK (duty IN ('syncer'));
COMMENT ON COLUMN duty.duty IS 'syncer: reads its scripts directory into task.';
ALTER TABLE node DROP COLUMN python;
ALTER TABLE script_version DROP COLUMN last_used_on;
ALTER TABLE task DROP CONSTRAINT task_plain_lists;
DROP FUNCTION is_plain_list(text[]);
ALTER TABLE task DROP COLUMN keep_output_seconds, DROP COLUMN keep_runs_seconds, DROP COLUMN output_kept_since, DROP COLUMN runs_kept_since;
DROP TABLE rolled_up_day;
DROP TABLE run_daily;

CREATE OR REPLACE FUNCTION queue_next_attempt(
  ended_task_id bigint, ended_task_name text, ended_scheduled_for timestamptz, ended_attempt smallint, ended_trigger text,
  ended_as_of timestamptz, ended_args jsonb, ended_requested_by text, ended_node_id uuid, ended_at timestamptz
) RETURNS bigint LANGUAGE sql AS $$
  WITH queued AS (
    INSERT INTO run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags, args, as_of)
    SELECT nextval('run_id_sequence'), ended_task_id, ended_scheduled_for, (ended_attempt + 1)::smallint, ended_trigger, 'queued',
           ended_at + retry_pause(t.retry_delay_seconds, t.retry_backoff, t.retry_cap_seconds, ended_attempt),
           t.queue, t.required_tags, ended_args, ended_as_of
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
