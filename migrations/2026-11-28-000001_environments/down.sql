DELETE FROM task_event WHERE kind = 'environment';
ALTER TABLE task_event DROP CONSTRAINT task_event_kind_check;
ALTER TABLE task_event ADD CONSTRAINT task_event_kind_check CHECK (kind IN (
  'created', 'edited', 'problem', 'healed', 'renamed', 'retired', 'revived', 'paused', 'resumed', 'overridden', 'planned'));
ALTER TABLE run_log DROP COLUMN lock_sha256, DROP COLUMN python;
ALTER TABLE task DROP COLUMN python, DROP COLUMN requires_python, DROP COLUMN requirements_sha256,
                 DROP COLUMN next_requirements_sha256, DROP COLUMN lock_sha256;
DROP TABLE environment;
DROP TABLE package_lock;
