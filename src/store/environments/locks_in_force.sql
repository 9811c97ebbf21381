-- The locks that live tasks have, and those that they will have when their files' packages are ready.
SELECT t.lock_sha256, t.requires_python FROM task t WHERE t.retired_at IS NULL AND t.lock_sha256 IS NOT NULL
UNION
SELECT e.lock_sha256, e.requirements ->> 'requires_python' FROM task t JOIN environment e ON e.requirements_sha256 = t.next_requirements_sha256
 WHERE t.retired_at IS NULL AND e.lock_sha256 IS NOT NULL;
