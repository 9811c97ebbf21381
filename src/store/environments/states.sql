-- How things stand with what is asked for.
SELECT requirements_sha256, requirements::text AS requirements, state, problem, lock_sha256
  FROM environment WHERE requirements_sha256 = ANY ($1::bytea[]);
