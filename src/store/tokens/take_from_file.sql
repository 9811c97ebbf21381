-- The token in the file of DROPCRON_TOKEN_FILE: in force from now on; the one that stood there before is revoked.
WITH parameter AS (
  SELECT $1::text AS name, $2::bytea AS secret_sha256, $3::text AS actor
), replaced AS (
  UPDATE token t SET revoked_at = clock_timestamp(), revoked_by = p.actor
    FROM parameter p WHERE t.origin = 'file' AND t.revoked_at IS NULL AND t.secret_sha256 <> p.secret_sha256
  RETURNING t.token_id
)
INSERT INTO token AS t (name, role, secret_sha256, origin, created_by)
SELECT p.name || CASE WHEN (SELECT count(*) FROM replaced) > 0 THEN to_char(clock_timestamp() AT TIME ZONE 'UTC', ' YYYY-MM-DD HH24:MI:SS.US') ELSE '' END,
       'admin', p.secret_sha256, 'file', p.actor
  FROM parameter p
ON CONFLICT (secret_sha256) DO NOTHING
RETURNING t.token_id, t.name, t.role, t.origin, t.created_at, t.created_by, t.last_used_at, t.revoked_at, t.revoked_by;
