SELECT count(*) AS row_count FROM run_log r
 WHERE r.task_id = $1::bigint AND r.scheduled_for < $2::timestamptz AND r.status NOT IN ('queued', 'running');
