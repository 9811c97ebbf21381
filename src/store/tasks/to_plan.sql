-- Tasks whose cursor does not follow their definition yet, and which owe nothing from before the change: an instant before
-- it that jitter makes due after it is still run, unless the task stands still from then on.
SELECT t.task_id, t.name, t.revision, t.updated_at AS changed_at,
       coalesce(t.schedule_override, t.schedule) AS schedule, coalesce(t.timezone_override, t.timezone) AS timezone,
       t.jitter_seconds, t.paused_at IS NOT NULL AS paused, t.enabled, t.retired_at IS NOT NULL AS retired,
       t.planned_schedule, t.planned_timezone, t.planned_idle, s.next_fire_at, s.last_fire_at
  FROM task t LEFT JOIN task_schedule s USING (task_id)
 WHERE t.revision <> t.planned_revision AND (s.next_fire_at IS NULL OR s.next_fire_at > t.updated_at
        OR (s.next_due_at > t.updated_at AND (t.paused_at IS NOT NULL OR NOT t.enabled OR t.retired_at IS NOT NULL)))
 ORDER BY t.task_id LIMIT 1000;
