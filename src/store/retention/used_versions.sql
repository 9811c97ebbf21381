-- Versions that a run may need: of tasks that are there, and of runs in flight.
SELECT script_sha256 FROM task WHERE retired_at IS NULL
UNION
SELECT r.script_sha256 FROM run_lease l JOIN run_log r USING (task_id, scheduled_for, attempt) WHERE r.script_sha256 IS NOT NULL;
