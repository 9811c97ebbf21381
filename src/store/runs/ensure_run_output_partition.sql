SELECT ensure_run_output_partition($1);
