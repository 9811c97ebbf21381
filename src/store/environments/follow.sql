-- Tasks have the lock of what they ask for, also those that were registered in the moment in which it came about.
UPDATE task t SET lock_sha256 = e.lock_sha256
  FROM environment e
 WHERE e.requirements_sha256 = t.requirements_sha256 AND t.retired_at IS NULL AND t.lock_sha256 IS DISTINCT FROM e.lock_sha256;
