-- What live tasks ask for, or will, with its state and those tasks; of one task, if it is named.
WITH parameter AS (SELECT $1::text AS task_name)
SELECT e.requirements_sha256, e.requirements::text AS requirements, e.state, e.problem, e.log, e.lock_sha256, e.changed_at,
       k.content AS lock, k.python AS lock_python, k.created_at AS locked_at,
       array_agg(t.name ORDER BY t.name) AS task_names,
       array_agg(t.name ORDER BY t.name) FILTER (WHERE t.next_requirements_sha256 = e.requirements_sha256
                                                   AND coalesce(t.name = p.task_name, true)) IS NOT NULL AS is_next
  FROM parameter p, environment e
  LEFT JOIN package_lock k USING (lock_sha256)
  JOIN task t ON t.retired_at IS NULL
             AND (t.requirements_sha256 = e.requirements_sha256 OR t.next_requirements_sha256 = e.requirements_sha256)
 GROUP BY e.requirements_sha256, k.lock_sha256, p.task_name
HAVING p.task_name IS NULL OR p.task_name = ANY (array_agg(t.name))
 ORDER BY min(t.name), e.requirements_sha256;
