-- Resumes a task: its cursor restarts at now, a pause is never replayed.
WITH parameter AS (SELECT set_config('dropcron.actor', $1::text, true) AS actor)
UPDATE task SET paused_at = NULL, paused_by = NULL, paused_reason = NULL
  FROM parameter WHERE name = $2 AND retired_at IS NULL AND paused_at IS NOT NULL AND parameter.actor IS NOT NULL
RETURNING task_id;
