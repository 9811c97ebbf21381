-- Somebody does not want the rest of a backfill: what has not been started yet.
UPDATE run_lease SET cancel_requested_at = clock_timestamp(), cancel_requested_by = $1::text, cancel_reason = 'requested'
 WHERE task_id = $2 AND trigger = 'backfill' AND state = 'queued' AND cancel_requested_at IS NULL
RETURNING run_id;
