-- Whether anything is recorded here: without a task there are neither runs nor values; the log outlives tasks.
SELECT EXISTS (SELECT FROM task) OR EXISTS (SELECT FROM run_log) AS holds_rows;
