-- Third-party packages: what scripts ask for, what exactly that came to, and which of it each run had.

CREATE TABLE package_lock (
  lock_sha256 bytea PRIMARY KEY CHECK (length(lock_sha256) = 32),
  content     text NOT NULL,
  python      text NOT NULL CHECK (python ~ '^[0-9]+\.[0-9]+$'),
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE package_lock IS 'Resolved sets of packages, by content. One lock holds on every platform; each node makes its own environment from it.';
COMMENT ON COLUMN package_lock.lock_sha256 IS 'SHA-256 of python and content.';
COMMENT ON COLUMN package_lock.content IS 'Every package with its version and the hashes of its files, as a requirements file. Empty: some Python is all that is needed.';
COMMENT ON COLUMN package_lock.python IS 'The oldest Python that it was resolved for, such as 3.11.';
COMMENT ON COLUMN package_lock.created_at IS 'When it was resolved.';

CREATE TABLE environment (
  requirements_sha256 bytea PRIMARY KEY CHECK (length(requirements_sha256) = 32),
  requirements jsonb NOT NULL,
  state       text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'ready', 'needs_attention')),
  problem     text,
  log         text NOT NULL DEFAULT '',
  lock_sha256 bytea REFERENCES package_lock,
  changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT environment_problem CHECK ((state = 'needs_attention') = (problem IS NOT NULL)),
  CONSTRAINT environment_lock CHECK (state <> 'ready' OR lock_sha256 IS NOT NULL)
);
CREATE INDEX environment_unsettled ON environment (requirements_sha256) WHERE state <> 'ready';
COMMENT ON TABLE environment IS 'What scripts ask for, by content: scripts that ask for the same share a row, and so a lock.';
COMMENT ON COLUMN environment.requirements_sha256 IS 'SHA-256 of what is asked for.';
COMMENT ON COLUMN environment.requirements IS 'What is asked for: where it is named, packages, requires_python.';
COMMENT ON COLUMN environment.state IS 'building: being resolved and installed; ready; needs_attention: that failed, and is tried again now and then.';
COMMENT ON COLUMN environment.problem IS 'For needs_attention: why, in the words of the resolver, and what to do.';
COMMENT ON COLUMN environment.log IS 'What was said while it was last resolved and installed; grows while that goes on.';
COMMENT ON COLUMN environment.lock_sha256 IS 'The lock in force; another one only when somebody asks for it. NULL: never resolved yet.';
COMMENT ON COLUMN environment.changed_at IS 'When its state last changed.';
COMMENT ON INDEX environment_unsettled IS 'Those that something is to be done about.';

ALTER TABLE task ADD COLUMN python text,
                 ADD COLUMN requires_python text,
                 ADD COLUMN requirements_sha256 bytea REFERENCES environment,
                 ADD COLUMN next_requirements_sha256 bytea REFERENCES environment,
                 ADD COLUMN lock_sha256 bytea REFERENCES package_lock;
CREATE INDEX task_requirements ON task (requirements_sha256) WHERE requirements_sha256 IS NOT NULL;
CREATE INDEX task_next_requirements ON task (next_requirements_sha256) WHERE next_requirements_sha256 IS NOT NULL;
COMMENT ON COLUMN task.python IS 'The interpreter that its header names; NULL: one that fits.';
COMMENT ON COLUMN task.requires_python IS 'The Python versions that it works with, as PEP 440 writes them.';
COMMENT ON COLUMN task.requirements_sha256 IS 'What the version in force asks for; see environment. NULL: it needs no packages.';
COMMENT ON COLUMN task.next_requirements_sha256 IS 'What the file on disk asks for, while that is not ready: until then the version in force stays.';
COMMENT ON COLUMN task.lock_sha256 IS 'The lock that its next run has; see package_lock. NULL: it needs no packages, or they were never resolved yet.';
COMMENT ON INDEX task_requirements IS 'The tasks that share an environment.';
COMMENT ON INDEX task_next_requirements IS 'The tasks whose files wait for one.';

ALTER TABLE run_log ADD COLUMN lock_sha256 bytea, ADD COLUMN python text;
COMMENT ON COLUMN run_log.lock_sha256 IS 'The packages that it had; see package_lock. NULL: none.';
COMMENT ON COLUMN run_log.python IS 'The version of the Python that ran it.';

ALTER TABLE task_event DROP CONSTRAINT task_event_kind_check;
ALTER TABLE task_event ADD CONSTRAINT task_event_kind_check CHECK (kind IN (
  'created', 'edited', 'problem', 'healed', 'renamed', 'retired', 'revived', 'paused', 'resumed', 'overridden', 'planned',
  'environment'));
