-- Whose a secret is. That it was used is noted once a minute, so that reading stays reading.
WITH parameter AS (SELECT $1::bytea AS token_sha256, $2::bytea AS session_sha256), found AS (
  SELECT t.token_id, t.name, t.role, t.last_used_at FROM parameter p JOIN token t ON t.secret_sha256 = p.token_sha256
   WHERE t.revoked_at IS NULL
  UNION ALL
  SELECT t.token_id, t.name, t.role, t.last_used_at FROM parameter p JOIN session s ON s.session_sha256 = p.session_sha256
    JOIN token t USING (token_id)
   WHERE t.revoked_at IS NULL AND s.expires_at > clock_timestamp()
), used AS (
  UPDATE token t SET last_used_at = clock_timestamp() FROM found f
   WHERE t.token_id = f.token_id AND coalesce(f.last_used_at < clock_timestamp() - interval '1 minute', true)
)
SELECT token_id, name, role FROM found LIMIT 1;
