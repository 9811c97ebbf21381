SELECT count(*) AS row_count
  FROM run_log r JOIN run_output o USING (run_id)
 WHERE r.task_id = $1::bigint AND r.scheduled_for >= $2::timestamptz AND r.scheduled_for < $3::timestamptz
   AND r.status NOT IN ('queued', 'running');
