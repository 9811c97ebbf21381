-- Somebody asks that a run be stopped. No row: it is not active.
UPDATE run_lease SET cancel_requested_at = clock_timestamp(), cancel_requested_by = $1::text, cancel_reason = 'requested'
 WHERE run_id = $2 AND cancel_requested_at IS NULL
RETURNING run_id;
