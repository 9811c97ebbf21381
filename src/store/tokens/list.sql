-- Tokens, those in force first, then those that were revoked, newest first.
SELECT token_id, name, role, origin, created_at, created_by, last_used_at, revoked_at, revoked_by
  FROM token ORDER BY revoked_at IS NOT NULL, revoked_at DESC, name;
