-- Somebody logs in. Sessions that have ended go.
WITH parameter AS (SELECT $1::bytea AS session_sha256, $2::bigint AS token_id, $3::double precision AS seconds), gone AS (
  DELETE FROM session WHERE expires_at < clock_timestamp()
)
INSERT INTO session (session_sha256, token_id, expires_at)
SELECT p.session_sha256, p.token_id, clock_timestamp() + make_interval(secs => p.seconds) FROM parameter p;
