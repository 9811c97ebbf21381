-- Somebody logs out.
DELETE FROM session WHERE session_sha256 = $1::bytea;
