-- What a key was sent for before.
WITH parameter AS (SELECT $1::bigint AS token_id, $2::text AS key, $3::bytea AS request_sha256)
SELECT k.request_sha256 = p.request_sha256 AS is_same, k.run_id FROM parameter p JOIN idempotency_key k USING (token_id, key);
