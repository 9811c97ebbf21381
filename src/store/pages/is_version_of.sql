-- Whether a content was in force for a task, or is.
WITH parameter AS (SELECT $1::bigint AS task_id, $2::bytea AS sha256)
SELECT EXISTS (SELECT FROM task t WHERE t.task_id = p.task_id AND t.script_sha256 = p.sha256)
    OR EXISTS (SELECT FROM task_event e WHERE e.task_id = p.task_id AND e.after->>'script_sha256' = encode(p.sha256, 'hex')) AS is_version
  FROM parameter p;
