-- A person replaces the schedule and the zone of a task, or takes that back.
WITH parameter AS (
  SELECT $1::text AS name, $2::text[] AS schedule, $3::text AS timezone, set_config('dropcron.actor', $4::text, true) AS actor
)
UPDATE task t SET schedule_override = p.schedule, timezone_override = p.timezone
  FROM parameter p WHERE t.name = p.name AND t.retired_at IS NULL AND p.actor IS NOT NULL
RETURNING t.task_id;
