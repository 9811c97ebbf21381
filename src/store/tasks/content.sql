-- The bytes of one version.
SELECT content FROM script_version WHERE sha256 = $1;
