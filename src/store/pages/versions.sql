-- The versions of a script that were in force for a task, the newest first: since when, and whether the content is still kept.
SELECT e.at AS in_force_at, e.actor, e.after->>'script_sha256' AS sha256, v.first_seen_at, length(v.content) AS size_bytes,
       t.script_sha256 = v.sha256 AND row_number() OVER (ORDER BY e.event_id DESC) = 1 AS in_force
  FROM task t JOIN task_event e USING (task_id)
  LEFT JOIN script_version v ON v.sha256 = decode(e.after->>'script_sha256', 'hex')
 WHERE t.task_id = $1 AND e.after ? 'script_sha256' AND e.after->>'script_sha256' IS DISTINCT FROM e.before->>'script_sha256'
 ORDER BY e.event_id DESC LIMIT $2::bigint;
