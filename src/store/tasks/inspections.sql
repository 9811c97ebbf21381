-- What is known of contents already.
SELECT sha256, inspection::text AS inspection FROM script_version WHERE sha256 = ANY ($1::bytea[]) AND inspection IS NOT NULL;
