-- Keeps contents that are not known yet.
INSERT INTO script_version (sha256, content, inspection)
SELECT i.sha256, i.content, i.inspection::jsonb
  FROM unnest($1::bytea[], $2::bytea[], $3::text[]) AS i(sha256, content, inspection)
ON CONFLICT (sha256) DO UPDATE SET inspection = excluded.inspection
 WHERE script_version.inspection IS DISTINCT FROM excluded.inspection AND excluded.inspection IS NOT NULL;
