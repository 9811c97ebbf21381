-- The plans in force of some tasks: what their cursors follow.
SELECT task_id, planned_revision, planned_schedule, planned_timezone, missed, grace_seconds, catch_up_limit
  FROM task WHERE task_id = ANY ($1::bigint[]) AND planned_schedule IS NOT NULL;
