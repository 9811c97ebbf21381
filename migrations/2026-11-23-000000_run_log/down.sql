-- Takes back the spine; all tasks and runs go with it.
DROP TABLE task_stat, run_output, run_log, run_lease, duty, node, task_event, task_schedule, task, concurrency_group,
  script_version CASCADE;
DROP SEQUENCE run_id_sequence;
DROP FUNCTION task_changed(), task_touched(), run_wanted(), retry_pause(double precision, double precision, double precision, integer),
  count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[]),
  queue_next_attempt(bigint, text, timestamptz, smallint, text, timestamptz, jsonb, text, uuid, timestamptz),
  ensure_run_log_partition(timestamptz),
  ensure_run_output_partition(timestamptz);
