-- Holds the key of a request; whoever sends it again waits here until the first is settled. Keys older than a day go.
WITH parameter AS (SELECT $1::bigint AS token_id, $2::text AS key, $3::bytea AS request_sha256), gone AS (
  DELETE FROM idempotency_key k USING parameter p
   WHERE k.created_at < clock_timestamp() - interval '1 day' AND (k.token_id, k.key) <> (p.token_id, p.key)
)
INSERT INTO idempotency_key AS k (token_id, key, request_sha256)
SELECT p.token_id, p.key, p.request_sha256 FROM parameter p
ON CONFLICT (token_id, key) DO UPDATE
   SET (request_sha256, run_id, created_at) = (excluded.request_sha256, NULL, excluded.created_at)
 WHERE k.created_at < clock_timestamp() - interval '1 day'
RETURNING token_id;
