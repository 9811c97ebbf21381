-- Who may use the API, what was changed through it, and what it asks of the rest: runs of another version than the one in force.

CREATE TABLE token (
  token_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100 AND name !~ '[[:cntrl:]]'),
  role          text NOT NULL CHECK (role IN ('reader', 'operator', 'admin')),
  secret_sha256 bytea NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
  origin        text NOT NULL CHECK (origin IN ('person', 'first_start', 'file')),
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by    text NOT NULL,
  last_used_at  timestamptz,
  revoked_at    timestamptz,
  revoked_by    text,
  CONSTRAINT token_revoked CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;
COMMENT ON TABLE token IS 'Who may use the API and the page. Rows stay after they are revoked: the audit names them.';
COMMENT ON COLUMN token.token_id IS 'Number of the token.';
COMMENT ON COLUMN token.name IS 'What people call it; unique among those that are not revoked. It stands where changes are recorded.';
COMMENT ON COLUMN token.role IS 'reader: sees everything but tokens and the audit. operator: also pauses, runs, cancels, judges values. admin: also scripts, which are code, and tokens.';
COMMENT ON COLUMN token.secret_sha256 IS 'SHA-256 of the token. It has 256 random bits, so that nothing slower is needed; one from a file is as strong as who wrote it.';
COMMENT ON COLUMN token.origin IS 'person: somebody made it. first_start: made by the first start of the service. file: read from DROPCRON_TOKEN_FILE.';
COMMENT ON COLUMN token.created_at IS 'When it was made.';
COMMENT ON COLUMN token.created_by IS 'Who made it.';
COMMENT ON COLUMN token.last_used_at IS 'When it was last used, give or take a minute; NULL: never.';
COMMENT ON COLUMN token.revoked_at IS 'Set: it opens nothing any more, and neither do sessions that began with it.';
COMMENT ON COLUMN token.revoked_by IS 'Who revoked it.';
COMMENT ON INDEX token_name IS 'A name may be used again after its token is revoked.';

CREATE TABLE session (
  session_sha256 bytea PRIMARY KEY CHECK (length(session_sha256) = 32),
  token_id       bigint NOT NULL REFERENCES token (token_id) ON DELETE CASCADE,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at     timestamptz NOT NULL
);
CREATE INDEX session_expires_at ON session (expires_at);
COMMENT ON TABLE session IS 'Browsers that are logged in: each with the rights that its token has at the moment.';
COMMENT ON COLUMN session.session_sha256 IS 'SHA-256 of the random value in the cookie.';
COMMENT ON COLUMN session.token_id IS 'The token that somebody logged in with.';
COMMENT ON COLUMN session.created_at IS 'When that was.';
COMMENT ON COLUMN session.expires_at IS 'Until when the cookie opens anything.';
COMMENT ON INDEX session_expires_at IS 'Those that have ended are removed at the next login.';

CREATE TABLE idempotency_key (
  token_id       bigint NOT NULL,
  key            text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
  run_id         bigint,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (token_id, key)
);
CREATE INDEX idempotency_key_created_at ON idempotency_key (created_at);
COMMENT ON TABLE idempotency_key IS 'Requests for runs that may be sent again without a second run. Removed after a day.';
COMMENT ON COLUMN idempotency_key.token_id IS 'Who asked.';
COMMENT ON COLUMN idempotency_key.key IS 'The header Idempotency-Key, as it was sent.';
COMMENT ON COLUMN idempotency_key.request_sha256 IS 'SHA-256 of what was asked for: the same key for something else is a mistake.';
COMMENT ON COLUMN idempotency_key.run_id IS 'The run that was made; NULL only within the transaction that makes it.';
COMMENT ON COLUMN idempotency_key.created_at IS 'When.';
COMMENT ON INDEX idempotency_key_created_at IS 'Those that are older than a day.';

CREATE TABLE audit (
  audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor    text NOT NULL,
  address  text,
  action   text NOT NULL,
  subject  text NOT NULL,
  before   jsonb,
  after    jsonb
);
CREATE INDEX audit_at ON audit (at DESC, audit_id DESC);
COMMENT ON TABLE audit IS 'What people changed and task_event does not record: scripts, runs, values, tokens, logins. Pauses, resumes and overrides of tasks are in task_event.';
COMMENT ON COLUMN audit.audit_id IS 'Number of the entry.';
COMMENT ON COLUMN audit.at IS 'When, by the database''s clock.';
COMMENT ON COLUMN audit.actor IS 'Who: the name of a token, or a person as the command line knows them.';
COMMENT ON COLUMN audit.address IS 'The address that it came from; NULL: the command line.';
COMMENT ON COLUMN audit.action IS 'What was done, as a noun and a verb: script.write, run.request, token.create.';
COMMENT ON COLUMN audit.subject IS 'To what: a path, a run, a task, a token.';
COMMENT ON COLUMN audit.before IS 'What was, as far as it changed.';
COMMENT ON COLUMN audit.after IS 'What is.';
COMMENT ON INDEX audit_at IS 'The newest entries.';

CREATE INDEX task_event_people ON task_event (at DESC, event_id DESC) WHERE kind IN ('paused', 'resumed', 'overridden');
COMMENT ON INDEX task_event_people IS 'What people changed, newest first.';

ALTER TABLE task DROP CONSTRAINT task_source_check;
ALTER TABLE task ADD CONSTRAINT task_source_check CHECK (source IN ('directory', 'ad_hoc', 'trial'));
COMMENT ON COLUMN task.source IS 'directory: found in the scripts directory. ad_hoc: a file outside it that somebody ran by hand. trial: a text that somebody tried from the page or over the API; kept out of lists, and removed after a week.';

ALTER TABLE run_lease ADD COLUMN script_sha256 bytea REFERENCES script_version (sha256);
COMMENT ON COLUMN run_lease.script_sha256 IS 'The version that somebody asked for; NULL: the one in force when it is claimed.';
