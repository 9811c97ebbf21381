-- The attempts of the instant of a run, in order, with what is asked of one run only.
SELECT r.run_id, r.attempt, r.status, r.reason, r.started_at, r.finished_at
  FROM run_log r WHERE r.task_id = $1 AND r.scheduled_for = $2::timestamptz ORDER BY r.attempt;
