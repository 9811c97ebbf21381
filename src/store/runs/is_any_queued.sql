-- Whether claiming is worth a try.
SELECT EXISTS (SELECT 1 FROM run_lease WHERE state = 'queued' AND due_at <= $1) AS is_any_queued;
