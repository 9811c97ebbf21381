-- Pauses a task; what was paused stays as it was.
UPDATE task SET paused_at = clock_timestamp(), paused_by = $1::text, paused_reason = $2::text
 WHERE name = $3 AND retired_at IS NULL AND paused_at IS NULL
RETURNING task_id;
