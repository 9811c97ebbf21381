-- The packages of one lock.
SELECT content, python FROM package_lock WHERE lock_sha256 = $1::bytea;
