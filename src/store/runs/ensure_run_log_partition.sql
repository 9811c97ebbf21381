SELECT ensure_run_log_partition($1);
