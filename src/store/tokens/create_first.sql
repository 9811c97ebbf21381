-- The token of the first start, where there has never been one. Two nodes that start at once make one.
WITH parameter AS (SELECT $1::text AS name, $2::bytea AS secret_sha256, $3::text AS created_by),
turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.token', 0)))
INSERT INTO token (name, role, secret_sha256, origin, created_by)
SELECT p.name, 'admin', p.secret_sha256, 'first_start', p.created_by FROM parameter p, turn
 WHERE NOT EXISTS (SELECT FROM token)
ON CONFLICT DO NOTHING
RETURNING token_id, name, role, origin, created_at, created_by, last_used_at, revoked_at, revoked_by;
