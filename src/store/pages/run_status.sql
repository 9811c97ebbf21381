-- How one run stands, for those who watch its output.
SELECT status, queued_at FROM run_log WHERE run_id = $1;
