-- It is being resolved, once more.
UPDATE environment SET state = 'building', problem = NULL, log = '', changed_at = clock_timestamp()
 WHERE requirements_sha256 = $1::bytea AND (state <> 'building' OR log <> '');
