-- What was said so far, for those who watch.
WITH parameter AS (SELECT $1::bytea AS requirements_sha256, $2::text AS log)
UPDATE environment e SET log = p.log FROM parameter p
 WHERE e.requirements_sha256 = p.requirements_sha256 AND e.log IS DISTINCT FROM p.log;
