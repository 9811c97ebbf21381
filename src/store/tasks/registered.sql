-- The tasks of the scripts directory, as the syncer knows them.
SELECT task_id, name, script_path, script_sha256, problem, header::text AS header, timezone, timeout_seconds,
       notify_after, notify_recovery, notify_to, late_after_seconds,
       requires_python, requirements_sha256, next_requirements_sha256 FROM task
 WHERE source = 'directory' AND retired_at IS NULL
 ORDER BY name;
