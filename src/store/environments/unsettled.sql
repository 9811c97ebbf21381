-- What live tasks ask for, or will, and is not ready; with the lock of the oldest of them, whose versions are kept where they fit.
SELECT e.requirements_sha256, e.requirements::text AS requirements, e.state, e.problem,
       coalesce(e.lock_sha256, t.lock_sha256) AS lock_sha256
  FROM environment e
 CROSS JOIN LATERAL (SELECT t.lock_sha256 FROM task t
                      WHERE t.retired_at IS NULL
                        AND (t.requirements_sha256 = e.requirements_sha256 OR t.next_requirements_sha256 = e.requirements_sha256)
                      ORDER BY t.lock_sha256 IS NULL, t.task_id LIMIT 1) t
 WHERE e.state <> 'ready'
 ORDER BY e.requirements_sha256;
