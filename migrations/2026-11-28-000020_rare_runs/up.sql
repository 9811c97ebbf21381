-- Runs that are rare are found without reading the log: those with a reason, and those that no schedule asked for.
--
-- An index of the status would be one that the end of every run has to write. A reason is NULL before a run and after its success:
-- the update that ends it touches no index, as before (HOT). What asked for a run never changes.
CREATE INDEX run_log_reason ON run_log (reason, scheduled_for DESC, run_id DESC, task_id) WHERE reason IS NOT NULL;
COMMENT ON INDEX run_log_reason IS 'The newest runs with a reason, and with it a status; of all tasks or of one.';

CREATE INDEX run_log_trigger ON run_log (trigger, scheduled_for DESC, run_id DESC, task_id) WHERE trigger <> 'schedule';
COMMENT ON INDEX run_log_trigger IS 'The newest runs that something else than the schedule on time asked for; of all tasks or of one.';
