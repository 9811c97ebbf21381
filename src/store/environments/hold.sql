-- Tasks whose files ask for packages that are not ready: what they have stays in force.
UPDATE task t SET next_requirements_sha256 = i.requirements_sha256
  FROM unnest($1::bigint[], $2::bytea[]) AS i(task_id, requirements_sha256)
 WHERE t.task_id = i.task_id AND t.next_requirements_sha256 IS DISTINCT FROM i.requirements_sha256;
