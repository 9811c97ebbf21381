-- Chunks of one run's output from a place on, with when each was written.
SELECT sequence, chunk, written_at FROM run_output
 WHERE run_id = $1 AND sequence >= $2 AND written_at >= $3::timestamptz
 ORDER BY sequence LIMIT $4::bigint;
