-- Makes rows for what is asked for; what is known stays as it is.
INSERT INTO environment (requirements_sha256, requirements)
SELECT DISTINCT ON (i.requirements_sha256) i.requirements_sha256, i.requirements::jsonb
  FROM unnest($1::bytea[], $2::text[]) AS i(requirements_sha256, requirements)
ON CONFLICT DO NOTHING;
