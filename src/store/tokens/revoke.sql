-- Revokes a token by its number or its name; its sessions end with it.
WITH parameter AS (SELECT $1::bigint AS token_id, $2::text AS name, $3::text AS actor), revoked AS (
  UPDATE token t SET revoked_at = clock_timestamp(), revoked_by = p.actor
    FROM parameter p
   WHERE t.revoked_at IS NULL AND (t.token_id = p.token_id OR t.name = p.name)
  RETURNING t.*
), ended AS (
  DELETE FROM session s USING revoked r WHERE s.token_id = r.token_id
)
SELECT token_id, name, role, origin, created_at, created_by, last_used_at, revoked_at, revoked_by FROM revoked;
