-- Takes back the contract. The roles stay: other databases of the server may use them.
DROP SCHEMA dropcron_report CASCADE;
DROP FUNCTION request_run(bigint, text, jsonb, timestamptz, uuid, boolean, timestamptz), find_task(text);
DROP TRIGGER task_succeeded ON task_stat;
DROP FUNCTION task_succeeded();
ALTER TABLE task_stat DROP COLUMN consecutive_successes;
DROP INDEX run_log_as_of, observation_day;
