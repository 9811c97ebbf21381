-- A new token; no row: its name is in use, or its secret is known.
WITH parameter AS (SELECT $1::text AS name, $2::text AS role, $3::bytea AS secret_sha256, $4::text AS origin, $5::text AS created_by)
INSERT INTO token (name, role, secret_sha256, origin, created_by)
SELECT p.name, p.role, p.secret_sha256, p.origin, p.created_by FROM parameter p
ON CONFLICT DO NOTHING
RETURNING token_id, name, role, origin, created_at, created_by, last_used_at, revoked_at, revoked_by;
