DROP INDEX run_log_trigger;
DROP INDEX run_log_reason;
