-- Notes the run that a request has made.
WITH parameter AS (SELECT $1::bigint AS token_id, $2::text AS key, $3::bigint AS run_id)
UPDATE idempotency_key k SET run_id = p.run_id FROM parameter p WHERE k.token_id = p.token_id AND k.key = p.key;
