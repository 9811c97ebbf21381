-- The spine: tasks, their schedules' cursors, nodes, runs in flight, the run log and its output.
--
-- Everything lives in the schema `dropcron`, which the program creates before it runs the first migration and puts first
-- in `search_path`. Text with CHECK stands where others use enum types: a word can be added without a lock.

-- ---------- what should run ----------

CREATE TABLE script_version (
  sha256      bytea PRIMARY KEY CHECK (length(sha256) = 32),
  content     bytea NOT NULL,
  inspection  jsonb,
  first_seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE script_version IS 'The bytes of every script that was ever in force, by content. What a run executes is one of these, never the file on disk.';
COMMENT ON COLUMN script_version.sha256 IS 'SHA-256 of content.';
COMMENT ON COLUMN script_version.content IS 'The bytes of the file.';
COMMENT ON COLUMN script_version.inspection IS 'What Python''s own parser says of it: run, its parameters, docstring, problem. NULL for compiled files.';
COMMENT ON COLUMN script_version.first_seen_at IS 'When it was first registered.';

CREATE TABLE concurrency_group (
  group_name  text PRIMARY KEY CHECK (length(group_name) BETWEEN 1 AND 200),
  max_running smallint NOT NULL CHECK (max_running BETWEEN 1 AND 1000)
);
COMMENT ON TABLE concurrency_group IS 'Limits that several tasks share. A group that a header names and that is not here has the limit 1.';
COMMENT ON COLUMN concurrency_group.group_name IS 'The name that headers use.';
COMMENT ON COLUMN concurrency_group.max_running IS 'How many runs of the group''s tasks may be active at once, on all nodes together.';

CREATE TABLE task (
  task_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name              text NOT NULL CHECK (length(name) BETWEEN 1 AND 1000),
  source            text NOT NULL CHECK (source IN ('directory', 'ad_hoc')),
  script_path       text NOT NULL,
  script_kind       text NOT NULL CHECK (script_kind IN ('source', 'bytecode', 'extension')),
  script_sha256     bytea NOT NULL REFERENCES script_version (sha256),
  is_async          boolean NOT NULL DEFAULT false,
  -- The header: written by the syncer only.
  schedule          text[] NOT NULL DEFAULT '{}',
  timezone          text NOT NULL,
  enabled           boolean NOT NULL DEFAULT true,
  timeout_seconds   double precision CHECK (timeout_seconds > 0),
  retry_max         integer NOT NULL DEFAULT 0 CHECK (retry_max BETWEEN 0 AND 1000),
  retry_delay_seconds double precision NOT NULL DEFAULT 30 CHECK (retry_delay_seconds >= 0),
  retry_backoff     double precision NOT NULL DEFAULT 2 CHECK (retry_backoff >= 1),
  retry_cap_seconds double precision NOT NULL DEFAULT 3600 CHECK (retry_cap_seconds >= 0),
  retry_on          text[] NOT NULL DEFAULT '{failed,timed_out}',
  overlap           text NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue', 'parallel', 'replace')),
  max_running       smallint NOT NULL DEFAULT 1 CHECK (max_running BETWEEN 1 AND 1000),
  concurrency_group text,
  queue             text NOT NULL DEFAULT 'default',
  required_tags     text[] NOT NULL DEFAULT '{}',
  missed            text NOT NULL DEFAULT 'latest' CHECK (missed IN ('skip', 'latest', 'all')),
  grace_seconds     double precision CHECK (grace_seconds >= 0),
  catch_up_limit    integer NOT NULL DEFAULT 100 CHECK (catch_up_limit BETWEEN 1 AND 10000),
  jitter_seconds    double precision NOT NULL DEFAULT 0 CHECK (jitter_seconds >= 0),
  env               text[] NOT NULL DEFAULT '{}',
  secrets           text[] NOT NULL DEFAULT '{}',
  args              jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(args) = 'object'),
  keep_return_value boolean NOT NULL DEFAULT true,
  description       text,
  owner             text,
  tags              text[] NOT NULL DEFAULT '{}',
  header            jsonb NOT NULL DEFAULT '{}',
  problem           text,
  -- What people change: psql, CLI, page.
  schedule_override text[],
  timezone_override text,
  paused_at         timestamptz,
  paused_by         text,
  paused_reason     text,
  -- Bookkeeping.
  revision          bigint NOT NULL DEFAULT 1,
  planned_revision  bigint NOT NULL DEFAULT 0,
  planned_schedule  text[],
  planned_timezone  text,
  planned_idle      text CHECK (planned_idle IN ('paused', 'disabled', 'retired')),
  planned_problem   text,
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now(),
  retired_at        timestamptz
);
CREATE UNIQUE INDEX task_name_live ON task (name) WHERE retired_at IS NULL;
CREATE INDEX task_name ON task (name);
CREATE INDEX task_to_plan ON task (task_id) WHERE revision <> planned_revision;
CREATE INDEX task_script ON task (script_sha256);
COMMENT ON TABLE task IS 'A script that is registered to run. Header columns belong to the syncer; people write the *_override and paused_* columns only.';
COMMENT ON COLUMN task.task_id IS 'Number of the task; never reused, kept over renames.';
COMMENT ON COLUMN task.name IS 'Path of the script below the scripts directory, without suffix; for ad_hoc the whole path. Unique among tasks that are not retired.';
COMMENT ON COLUMN task.source IS 'directory: found in the scripts directory. ad_hoc: a file outside it that somebody ran by hand.';
COMMENT ON COLUMN task.script_path IS 'The script file: relative to the scripts directory, or absolute for ad_hoc.';
COMMENT ON COLUMN task.script_kind IS 'How the file is loaded: source (.py), bytecode (.pyc) or extension (.so).';
COMMENT ON COLUMN task.script_sha256 IS 'The version in force: the newest one without a problem.';
COMMENT ON COLUMN task.is_async IS 'Whether run() is declared async: the interpreter then loads asyncio before the fire time.';
COMMENT ON COLUMN task.schedule IS 'Cron expressions, @every, @at; several are one union. Empty: runs on request only.';
COMMENT ON COLUMN task.timezone IS 'IANA zone that the schedule is read in.';
COMMENT ON COLUMN task.enabled IS 'false: due instants are recorded as missed, reason disabled.';
COMMENT ON COLUMN task.timeout_seconds IS 'Time limit of a run, from its start; NULL: none.';
COMMENT ON COLUMN task.retry_max IS 'How many times a failed run is tried again.';
COMMENT ON COLUMN task.retry_delay_seconds IS 'Pause before the first retry.';
COMMENT ON COLUMN task.retry_backoff IS 'Factor by which the pause grows from retry to retry.';
COMMENT ON COLUMN task.retry_cap_seconds IS 'Longest pause between retries.';
COMMENT ON COLUMN task.retry_on IS 'Statuses that are tried again.';
COMMENT ON COLUMN task.overlap IS 'What a due instant does while a run of the task is active: skip, queue, parallel, replace.';
COMMENT ON COLUMN task.max_running IS 'How many runs of the task may be active at once.';
COMMENT ON COLUMN task.concurrency_group IS 'A limit shared with other tasks; see concurrency_group.';
COMMENT ON COLUMN task.queue IS 'Only nodes that serve this queue run the task.';
COMMENT ON COLUMN task.required_tags IS 'Tags that a node must offer to run the task.';
COMMENT ON COLUMN task.missed IS 'What happens to instants that were due while no node was there: skip, latest, all.';
COMMENT ON COLUMN task.grace_seconds IS 'How late an instant may still start; NULL: no limit.';
COMMENT ON COLUMN task.catch_up_limit IS 'With missed = all: at most so many instants are run.';
COMMENT ON COLUMN task.jitter_seconds IS 'Width of the window over which tasks of one schedule are spread; the offset is stable per task.';
COMMENT ON COLUMN task.env IS 'Names of environment variables passed through to the script.';
COMMENT ON COLUMN task.secrets IS 'Names of secrets given to the script.';
COMMENT ON COLUMN task.args IS 'Keyword arguments of run().';
COMMENT ON COLUMN task.keep_return_value IS 'false: the return value is not stored.';
COMMENT ON COLUMN task.description IS 'Free text from the header, or the docstring''s first line.';
COMMENT ON COLUMN task.owner IS 'Who to ask.';
COMMENT ON COLUMN task.tags IS 'Labels for people.';
COMMENT ON COLUMN task.header IS 'The header in force, as JSON.';
COMMENT ON COLUMN task.problem IS 'What is wrong with the file as it is on disk now; the last good version stays in force.';
COMMENT ON COLUMN task.schedule_override IS 'Written by people: replaces schedule.';
COMMENT ON COLUMN task.timezone_override IS 'Written by people: replaces timezone.';
COMMENT ON COLUMN task.paused_at IS 'Set: paused since then; due instants are recorded as missed, reason paused, and never replayed.';
COMMENT ON COLUMN task.paused_by IS 'Who paused it.';
COMMENT ON COLUMN task.paused_reason IS 'Why.';
COMMENT ON COLUMN task.revision IS 'Raised by a trigger with every change of what runs or when.';
COMMENT ON COLUMN task.planned_revision IS 'The revision that task_schedule.next_fire_at was computed from.';
COMMENT ON COLUMN task.planned_schedule IS 'The schedule that next_fire_at was computed from; NULL before the first plan.';
COMMENT ON COLUMN task.planned_timezone IS 'The zone that next_fire_at was computed in.';
COMMENT ON COLUMN task.planned_idle IS 'Why the cursor stands still since task_schedule.last_fire_at; NULL: it moves.';
COMMENT ON COLUMN task.planned_problem IS 'Why the schedule or an override cannot be planned, for example a cron expression mistyped in psql; the last good plan goes on.';
COMMENT ON COLUMN task.created_at IS 'When the task was first seen.';
COMMENT ON COLUMN task.updated_at IS 'When what runs or when last changed.';
COMMENT ON COLUMN task.retired_at IS 'Set: its file is gone; history stays.';
COMMENT ON INDEX task_name_live IS 'A name may be used again after its task is retired.';
COMMENT ON INDEX task_name IS 'Retired tasks by name: a file that comes back gets its history back.';
COMMENT ON INDEX task_to_plan IS 'Tasks whose cursor must be computed anew.';
COMMENT ON INDEX task_script IS 'Renames are found by content.';

CREATE TABLE task_schedule (
  task_id       bigint PRIMARY KEY REFERENCES task (task_id) ON DELETE CASCADE,
  next_fire_at  timestamptz,
  next_due_at   timestamptz,
  last_fire_at  timestamptz NOT NULL,
  due_offset_seconds double precision NOT NULL DEFAULT 0,
  planned_revision bigint NOT NULL DEFAULT 0,
  CONSTRAINT task_schedule_forward CHECK (next_fire_at > last_fire_at),
  CONSTRAINT task_schedule_due CHECK ((next_due_at IS NULL) = (next_fire_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX task_schedule_due_at ON task_schedule (next_due_at) INCLUDE (task_id) WHERE next_due_at IS NOT NULL;
COMMENT ON TABLE task_schedule IS 'The durable cursor: one narrow row a task, moved by the statement that writes the run row.';
COMMENT ON COLUMN task_schedule.task_id IS 'The task.';
COMMENT ON COLUMN task_schedule.next_fire_at IS 'The next instant that is not yet in the run log; NULL: none (manual, paused, disabled, retired, or past its last instant).';
COMMENT ON COLUMN task_schedule.last_fire_at IS 'All instants up to this one are settled. Never moves back while instants are consumed.';
COMMENT ON COLUMN task_schedule.next_due_at IS 'When that instant''s run should start: next_fire_at plus due_offset_seconds.';
COMMENT ON COLUMN task_schedule.due_offset_seconds IS 'The task''s share of its jitter: a run is due so long after its instant.';
COMMENT ON COLUMN task_schedule.planned_revision IS 'The revision of the task that next_fire_at was computed from, as in task: here under the lock that moves the cursor.';
COMMENT ON INDEX task_schedule_due_at IS 'Due instants in order; read from a low watermark, never from the left edge.';

CREATE TABLE task_event (
  event_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id   bigint NOT NULL,
  task_name text NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor     text NOT NULL,
  kind      text NOT NULL CHECK (kind IN ('created', 'edited', 'problem', 'healed', 'renamed', 'retired', 'revived',
                                          'paused', 'resumed', 'overridden', 'planned')),
  before    jsonb,
  after     jsonb
);
CREATE INDEX task_event_task ON task_event (task_id, at);
COMMENT ON TABLE task_event IS 'A row for every change of a task: who, when, before, after.';
COMMENT ON COLUMN task_event.event_id IS 'Number of the event.';
COMMENT ON COLUMN task_event.task_id IS 'The task. No foreign key: the audit outlives it.';
COMMENT ON COLUMN task_event.task_name IS 'Its name then.';
COMMENT ON COLUMN task_event.at IS 'When, by the database''s clock.';
COMMENT ON COLUMN task_event.actor IS 'Who: syncer, or a person as the command line or the database knows them.';
COMMENT ON COLUMN task_event.kind IS 'What happened.';
COMMENT ON COLUMN task_event.before IS 'The columns that changed, as they were.';
COMMENT ON COLUMN task_event.after IS 'The columns that changed, as they are.';
COMMENT ON INDEX task_event_task IS 'The story of one task.';

-- ---------- who runs it ----------

CREATE TABLE node (
  node_id           uuid PRIMARY KEY,
  kind              text NOT NULL CHECK (kind IN ('serve', 'command')),
  host              text NOT NULL,
  pid               integer NOT NULL,
  version           text NOT NULL,
  data_directory_id uuid NOT NULL,
  queues            text[] NOT NULL DEFAULT '{}',
  tags              text[] NOT NULL DEFAULT '{}',
  max_running       integer NOT NULL CHECK (max_running >= 0),
  state             text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'draining', 'stopped', 'dead')),
  started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  connected_since   timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until       timestamptz NOT NULL,
  stopped_at        timestamptz,
  clock_offset_ms   double precision,
  clock_error_ms    double precision
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
CREATE INDEX node_state ON node (state) WHERE state IN ('live', 'draining');
COMMENT ON TABLE node IS 'One row per incarnation of a dropcron process that runs scripts: a restart is a new node.';
COMMENT ON COLUMN node.node_id IS 'Made at process start; what a run is owned by.';
COMMENT ON COLUMN node.kind IS 'serve: the service. command: one dropcron run in somebody''s terminal.';
COMMENT ON COLUMN node.host IS 'Host name.';
COMMENT ON COLUMN node.pid IS 'Process id on that host.';
COMMENT ON COLUMN node.version IS 'Version of dropcron.';
COMMENT ON COLUMN node.data_directory_id IS 'Which data directory it works in: its successor there settles what it left.';
COMMENT ON COLUMN node.queues IS 'Queues it serves.';
COMMENT ON COLUMN node.tags IS 'Tags it offers.';
COMMENT ON COLUMN node.max_running IS 'How many scripts it runs at once.';
COMMENT ON COLUMN node.state IS 'live; draining: finishes, takes nothing new; stopped: left in order; dead: its lease ended.';
COMMENT ON COLUMN node.started_at IS 'Start of the process.';
COMMENT ON COLUMN node.connected_since IS 'Start of its unbroken contact with this database; only after a whole lease of contact does it judge others.';
COMMENT ON COLUMN node.heartbeat_at IS 'Last heartbeat, by the database''s clock.';
COMMENT ON COLUMN node.lease_until IS 'Until then it may start scripts.';
COMMENT ON COLUMN node.stopped_at IS 'When it stopped or was found dead.';
COMMENT ON COLUMN node.clock_offset_ms IS 'Database clock less the node''s wall clock, as the node measured it.';
COMMENT ON COLUMN node.clock_error_ms IS 'Uncertainty of clock_offset_ms: half the best round trip.';
COMMENT ON INDEX node_state IS 'The few that matter.';

CREATE TABLE duty (
  duty       text PRIMARY KEY CHECK (duty IN ('syncer')),
  node_id    uuid NOT NULL,
  held_until timestamptz NOT NULL
);
COMMENT ON TABLE duty IS 'Work that one node does for all, by lease.';
COMMENT ON COLUMN duty.duty IS 'syncer: reads its scripts directory into task.';
COMMENT ON COLUMN duty.node_id IS 'Who does it.';
COMMENT ON COLUMN duty.held_until IS 'Until when, unless renewed.';

-- ---------- what runs now ----------

CREATE SEQUENCE run_id_sequence AS bigint;
COMMENT ON SEQUENCE run_id_sequence IS 'Numbers of runs.';

CREATE TABLE run_lease (
  run_id        bigint PRIMARY KEY,
  task_id       bigint NOT NULL,
  scheduled_for timestamptz NOT NULL,
  attempt       smallint NOT NULL,
  trigger       text NOT NULL,
  state         text NOT NULL CHECK (state IN ('queued', 'claimed', 'running')),
  due_at        timestamptz NOT NULL,
  queue         text NOT NULL,
  required_tags text[] NOT NULL DEFAULT '{}',
  node_id       uuid,
  slot          smallint,
  group_name    text,
  group_slot    smallint,
  exempt        boolean NOT NULL DEFAULT false,
  serial        boolean NOT NULL DEFAULT false,
  prior_fire_at timestamptz,
  args          jsonb,
  as_of         timestamptz,
  cancel_requested_at timestamptz,
  cancel_requested_by text,
  cancel_reason text CHECK (cancel_reason IN ('requested', 'replaced', 'void')),
  CONSTRAINT run_lease_owner CHECK ((state = 'queued') = (node_id IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX run_lease_key ON run_lease (task_id, scheduled_for, attempt);
CREATE UNIQUE INDEX run_lease_slot ON run_lease (task_id, slot) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX run_lease_group_slot ON run_lease (group_name, group_slot) WHERE group_slot IS NOT NULL;
CREATE INDEX run_lease_queued ON run_lease (due_at, run_id) WHERE state = 'queued';
CREATE INDEX run_lease_node ON run_lease (node_id) WHERE node_id IS NOT NULL;
COMMENT ON TABLE run_lease IS 'Runs that have not ended. A row goes when its run ends, so the table stays small.';
COMMENT ON COLUMN run_lease.run_id IS 'The run.';
COMMENT ON COLUMN run_lease.task_id IS 'Its task.';
COMMENT ON COLUMN run_lease.scheduled_for IS 'The instant it stands for in the run log.';
COMMENT ON COLUMN run_lease.attempt IS '1 for the first try.';
COMMENT ON COLUMN run_lease.trigger IS 'What asked for it.';
COMMENT ON COLUMN run_lease.state IS 'queued: anybody may claim it. claimed: a node starts it at due_at. running: its process was started.';
COMMENT ON COLUMN run_lease.due_at IS 'When it should start.';
COMMENT ON COLUMN run_lease.queue IS 'Only nodes that serve this queue may claim it.';
COMMENT ON COLUMN run_lease.required_tags IS 'Only nodes that offer all of these may claim it.';
COMMENT ON COLUMN run_lease.node_id IS 'Who owns it; NULL while queued.';
COMMENT ON COLUMN run_lease.slot IS 'Place under the task''s limit; NULL: it waits for one, or is exempt.';
COMMENT ON COLUMN run_lease.group_name IS 'The concurrency group it counts in.';
COMMENT ON COLUMN run_lease.group_slot IS 'Place under the group''s limit.';
COMMENT ON COLUMN run_lease.exempt IS 'true: somebody forced it beside the others; it takes no slot.';
COMMENT ON COLUMN run_lease.serial IS 'true: one of several that are made up for, one after another; it waits behind the runs of regular instants, is in no instant''s way while it waits, and is never replaced.';
COMMENT ON COLUMN run_lease.prior_fire_at IS 'The task''s last_fire_at before this claim: what giving the claim back restores.';
COMMENT ON COLUMN run_lease.args IS 'Keyword arguments of this run alone, laid over the task''s.';
COMMENT ON COLUMN run_lease.as_of IS 'The instant that the script is told, where that is not scheduled_for.';
COMMENT ON COLUMN run_lease.cancel_requested_at IS 'Set: it is to be stopped; its node does that.';
COMMENT ON COLUMN run_lease.cancel_requested_by IS 'Who asked.';
COMMENT ON COLUMN run_lease.cancel_reason IS 'The reason that its row will carry.';
COMMENT ON INDEX run_lease_key IS 'One row per instant and attempt.';
COMMENT ON INDEX run_lease_slot IS 'The database itself forbids one run too many.';
COMMENT ON INDEX run_lease_group_slot IS 'The same for groups.';
COMMENT ON INDEX run_lease_queued IS 'The order of claiming.';
COMMENT ON INDEX run_lease_node IS 'What a node holds.';

-- ---------- what ran ----------

CREATE TABLE run_log (
  run_id        bigint NOT NULL,
  task_id       bigint NOT NULL,
  task_name     text NOT NULL,
  scheduled_for timestamptz NOT NULL,
  attempt       smallint NOT NULL DEFAULT 1,
  trigger       text NOT NULL CHECK (trigger IN ('schedule', 'catch_up', 'backfill', 'manual')),
  status        text NOT NULL,
  reason        text,
  detail        text,
  as_of         timestamptz,
  node_id       uuid,
  queued_at     timestamptz NOT NULL,
  due_at        timestamptz NOT NULL,
  started_at    timestamptz,
  finished_at   timestamptz,
  exit_code     integer,
  signal        smallint,
  missed_count  bigint CHECK (missed_count > 0),
  missed_until  timestamptz,
  blocking_run_id bigint,
  return_value  jsonb,
  error_type    text,
  error         text,
  traceback     text,
  warnings      text[] NOT NULL DEFAULT '{}',
  max_rss_kb    bigint,
  cpu_ms        bigint,
  script_sha256 bytea,
  args          jsonb,
  requested_by  text,
  late_report   boolean NOT NULL DEFAULT false,
  duration_ms   double precision GENERATED ALWAYS AS (extract(epoch FROM finished_at - started_at) * 1000) STORED,
  start_delay_ms double precision GENERATED ALWAYS AS (extract(epoch FROM started_at - due_at) * 1000) STORED,
  PRIMARY KEY (task_id, scheduled_for, attempt),
  CONSTRAINT run_log_outcome CHECK (CASE status
    WHEN 'queued' THEN reason IS NULL
    WHEN 'running' THEN reason IS NULL
    WHEN 'succeeded' THEN reason IS NULL
    WHEN 'failed' THEN reason IN ('raised', 'load_failed', 'no_run', 'run_not_callable', 'run_needs_args', 'exited',
                                  'signal', 'out_of_memory', 'result_lost', 'environment', 'secret_missing', 'spawn_failed')
    WHEN 'timed_out' THEN reason IN ('timeout')
    WHEN 'cancelled' THEN reason IN ('requested', 'replaced', 'shutdown', 'void')
    WHEN 'lost' THEN reason IN ('node_gone', 'keeper_gone')
    WHEN 'skipped' THEN reason IN ('overlap', 'superseded', 'grace')
    WHEN 'missed' THEN reason IN ('down', 'paused', 'disabled', 'limit')
    ELSE false END IS TRUE)
) PARTITION BY RANGE (scheduled_for);
CREATE INDEX run_log_id ON run_log (run_id);
CREATE INDEX run_log_time ON run_log (scheduled_for DESC, run_id DESC);
COMMENT ON TABLE run_log IS 'A row for every instant at which a task was due, and every attempt: what it returned, how it ended, or why it did not run. Partitioned by month of scheduled_for.';
COMMENT ON COLUMN run_log.run_id IS 'Number of the run, unique.';
COMMENT ON COLUMN run_log.task_id IS 'The task. No foreign key: history outlives it.';
COMMENT ON COLUMN run_log.task_name IS 'Its name when the run was due.';
COMMENT ON COLUMN run_log.scheduled_for IS 'The instant that the schedule asked for; for manual and backfill runs the instant of the request; for a missed span its first instant.';
COMMENT ON COLUMN run_log.attempt IS '1 for the first try.';
COMMENT ON COLUMN run_log.trigger IS 'What asked for it: schedule, catch_up, backfill, manual.';
COMMENT ON COLUMN run_log.status IS 'queued, running; succeeded, failed, timed_out, cancelled; lost: nobody knows; skipped, missed: it did not run.';
COMMENT ON COLUMN run_log.reason IS 'Why it has that status; NULL for queued, running and succeeded.';
COMMENT ON COLUMN run_log.detail IS 'The facts behind the reason, in words.';
COMMENT ON COLUMN run_log.as_of IS 'The instant that the run stands for, where that is not scheduled_for.';
COMMENT ON COLUMN run_log.node_id IS 'The node that owned it; only that one may write its end.';
COMMENT ON COLUMN run_log.queued_at IS 'When the row was made.';
COMMENT ON COLUMN run_log.due_at IS 'When it should have started: scheduled_for plus the task''s share of its jitter, or the end of a retry''s pause.';
COMMENT ON COLUMN run_log.started_at IS 'When the script was let go.';
COMMENT ON COLUMN run_log.finished_at IS 'When its last process had ended, or when it was decided that it does not run.';
COMMENT ON COLUMN run_log.exit_code IS 'Exit code of the process, if it exited.';
COMMENT ON COLUMN run_log.signal IS 'Signal that ended the process, if one did.';
COMMENT ON COLUMN run_log.missed_count IS 'For missed: how many instants this row stands for.';
COMMENT ON COLUMN run_log.missed_until IS 'For missed: the last of them.';
COMMENT ON COLUMN run_log.blocking_run_id IS 'For skipped because of overlap: the run that was in the way.';
COMMENT ON COLUMN run_log.return_value IS 'What run() returned, as JSON.';
COMMENT ON COLUMN run_log.error_type IS 'Type of the exception, or a word of dropcron''s in small letters.';
COMMENT ON COLUMN run_log.error IS 'Its message.';
COMMENT ON COLUMN run_log.traceback IS 'Python''s traceback, from the script''s first frame on.';
COMMENT ON COLUMN run_log.warnings IS 'What people should know although the run ended well.';
COMMENT ON COLUMN run_log.max_rss_kb IS 'Peak resident memory of its largest process, KiB.';
COMMENT ON COLUMN run_log.cpu_ms IS 'User and system time of all its processes, milliseconds.';
COMMENT ON COLUMN run_log.script_sha256 IS 'The script version that ran; see script_version.';
COMMENT ON COLUMN run_log.args IS 'Keyword arguments given for this run alone.';
COMMENT ON COLUMN run_log.requested_by IS 'Who asked for it, for runs that somebody asked for.';
COMMENT ON COLUMN run_log.late_report IS 'true: first recorded as lost, then its node came back with this end.';
COMMENT ON COLUMN run_log.duration_ms IS 'finished_at - started_at, milliseconds.';
COMMENT ON COLUMN run_log.start_delay_ms IS 'Lateness: started_at - due_at, milliseconds.';
COMMENT ON INDEX run_log_id IS 'A run by its number.';
COMMENT ON INDEX run_log_time IS 'The newest rows of all tasks.';

CREATE TABLE run_output (
  run_id      bigint NOT NULL,
  sequence    integer NOT NULL,
  written_at  timestamptz NOT NULL,
  chunk       text NOT NULL,
  PRIMARY KEY (run_id, sequence, written_at)
) PARTITION BY RANGE (written_at);
COMMENT ON TABLE run_output IS 'What runs printed, in chunks. Partitioned by day of writing.';
COMMENT ON COLUMN run_output.run_id IS 'The run.';
COMMENT ON COLUMN run_output.sequence IS 'Order within the run, from 0.';
COMMENT ON COLUMN run_output.written_at IS 'When it was written here.';
COMMENT ON COLUMN run_output.chunk IS 'Text; what is not UTF-8 is replaced.';

CREATE TABLE task_stat (
  task_id              bigint PRIMARY KEY,
  last_run_id          bigint NOT NULL,
  last_scheduled_for   timestamptz NOT NULL,
  last_status          text NOT NULL,
  last_finished_at     timestamptz,
  last_duration_ms     double precision,
  last_success_at      timestamptz,
  consecutive_failures integer NOT NULL DEFAULT 0,
  runs_total           bigint NOT NULL DEFAULT 0,
  failures_total       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE task_stat IS 'The newest end per task, kept by the statements that end runs: status reports read one row a task.';
COMMENT ON COLUMN task_stat.task_id IS 'The task.';
COMMENT ON COLUMN task_stat.last_run_id IS 'Its newest ended run.';
COMMENT ON COLUMN task_stat.last_scheduled_for IS 'The instant of that run.';
COMMENT ON COLUMN task_stat.last_status IS 'How it ended.';
COMMENT ON COLUMN task_stat.last_finished_at IS 'When it ended.';
COMMENT ON COLUMN task_stat.last_duration_ms IS 'How long it ran.';
COMMENT ON COLUMN task_stat.last_success_at IS 'End of the newest run that succeeded.';
COMMENT ON COLUMN task_stat.consecutive_failures IS 'Failures since then.';
COMMENT ON COLUMN task_stat.runs_total IS 'Ended attempts, ever, also those that were lost.';
COMMENT ON COLUMN task_stat.failures_total IS 'Those that failed, timed out or were lost.';

-- ---------- functions ----------

CREATE FUNCTION task_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.script_sha256, NEW.schedule, NEW.timezone, NEW.enabled, NEW.schedule_override, NEW.timezone_override,
      NEW.jitter_seconds, NEW.missed, NEW.grace_seconds, NEW.catch_up_limit, NEW.paused_at IS NULL, NEW.retired_at IS NULL)
     IS DISTINCT FROM
     (OLD.script_sha256, OLD.schedule, OLD.timezone, OLD.enabled, OLD.schedule_override, OLD.timezone_override,
      OLD.jitter_seconds, OLD.missed, OLD.grace_seconds, OLD.catch_up_limit, OLD.paused_at IS NULL, OLD.retired_at IS NULL)
  THEN
    NEW.revision := OLD.revision + 1;
    NEW.updated_at := clock_timestamp();
    PERFORM pg_notify(current_schema() || '_wake', 'task');
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION task_changed() IS 'Raises task.revision when what runs or when has changed, and wakes the scheduler.';
CREATE TRIGGER task_changed BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_changed();

CREATE FUNCTION task_touched() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  was jsonb := '{}'; now_is jsonb := '{}'; what text;
BEGIN
  IF NEW.paused_at IS NULL AND OLD.paused_at IS NOT NULL THEN what := 'resumed';
  ELSIF NEW.paused_at IS NOT NULL AND OLD.paused_at IS NULL THEN what := 'paused';
  ELSIF (NEW.schedule_override, NEW.timezone_override) IS DISTINCT FROM (OLD.schedule_override, OLD.timezone_override)
    THEN what := 'overridden';
  ELSE RETURN NULL;
  END IF;
  SELECT coalesce(jsonb_object_agg(key, o.value), '{}'), coalesce(jsonb_object_agg(key, n.value), '{}') INTO was, now_is
    FROM jsonb_each(to_jsonb(OLD)) o JOIN jsonb_each(to_jsonb(NEW)) n USING (key)
   WHERE o.value IS DISTINCT FROM n.value AND key NOT IN ('revision', 'updated_at');
  INSERT INTO task_event (task_id, task_name, actor, kind, before, after)
  VALUES (NEW.task_id, NEW.name,
          coalesce(CASE what WHEN 'paused' THEN NEW.paused_by END, nullif(current_setting('dropcron.actor', true), ''), session_user), what, was, now_is);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION task_touched() IS 'Writes the task event of a pause, a resume or an override, whoever made it and wherever.';
CREATE TRIGGER task_touched AFTER UPDATE OF paused_at, schedule_override, timezone_override ON task
  FOR EACH ROW EXECUTE FUNCTION task_touched();

CREATE FUNCTION run_wanted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(current_schema() || '_wake', 'run');
  RETURN NULL;
END $$;
COMMENT ON FUNCTION run_wanted() IS 'Wakes the nodes for what people ask: a run now, a cancel.';
CREATE TRIGGER run_cancelled AFTER UPDATE OF cancel_requested_at ON run_lease
  FOR EACH ROW WHEN (NEW.cancel_requested_at IS NOT NULL) EXECUTE FUNCTION run_wanted();

CREATE FUNCTION retry_pause(delay double precision, backoff double precision, cap double precision, attempt integer)
RETURNS interval LANGUAGE sql IMMUTABLE AS $$
  -- Compared by logarithms first: the power itself may be beyond what a number can hold.
  SELECT make_interval(secs => CASE
    WHEN delay <= 0 OR delay >= cap THEN least(delay, cap)
    WHEN ln(delay) + (attempt - 1) * ln(backoff) >= ln(cap) THEN cap
    ELSE least(delay * backoff ^ (attempt - 1), cap) END)
$$;
COMMENT ON FUNCTION retry_pause(double precision, double precision, double precision, integer) IS 'How long after the end of an attempt the next one is due: the delay times the factor for each attempt so far, at most the cap (all in seconds).';

CREATE FUNCTION queue_next_attempt(
  ended_task_id bigint, ended_task_name text, ended_scheduled_for timestamptz, ended_attempt smallint, ended_trigger text,
  ended_as_of timestamptz, ended_args jsonb, ended_requested_by text, ended_node_id uuid, ended_at timestamptz
) RETURNS bigint LANGUAGE sql AS $$
  WITH queued AS (
    INSERT INTO run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, required_tags, args, as_of)
    SELECT nextval('run_id_sequence'), ended_task_id, ended_scheduled_for, (ended_attempt + 1)::smallint, ended_trigger, 'queued',
           ended_at + retry_pause(t.retry_delay_seconds, t.retry_backoff, t.retry_cap_seconds, ended_attempt),
           t.queue, t.required_tags, ended_args, ended_as_of
      FROM task t JOIN node n ON n.node_id = ended_node_id
     WHERE t.task_id = ended_task_id AND ended_attempt <= t.retry_max AND t.retired_at IS NULL
       -- Who runs something in a terminal tries again by hand.
       AND n.kind = 'serve'
    ON CONFLICT DO NOTHING
    RETURNING *
  )
  INSERT INTO run_log (run_id, task_id, task_name, scheduled_for, attempt, trigger, status, queued_at, due_at, as_of, args,
                       requested_by, script_sha256)
  SELECT q.run_id, q.task_id, ended_task_name, q.scheduled_for, q.attempt, q.trigger, 'queued', clock_timestamp(), q.due_at,
         q.as_of, q.args, ended_requested_by, t.script_sha256
    FROM queued q JOIN task t USING (task_id)
  RETURNING run_id
$$;
COMMENT ON FUNCTION queue_next_attempt(bigint, text, timestamptz, smallint, text, timestamptz, jsonb, text, uuid, timestamptz) IS 'Queues the attempt after one that has ended, if its task allows another: a row of its own, so that a restart does not lose its time, and without a slot while it waits. NULL: there is none.';

CREATE FUNCTION count_ends(task_ids bigint[], run_ids bigint[], scheduled_for timestamptz[], statuses text[],
                           finished_at timestamptz[], durations_ms double precision[], late_reports boolean[])
RETURNS void LANGUAGE sql AS $$
  -- A late report corrects an end that was counted before, as lost: one failure.
  WITH input AS (
    SELECT i.*, i.status IN ('failed', 'timed_out', 'lost') AS is_failure, s.last_success_at AS prior_success_at
      FROM unnest(count_ends.task_ids, count_ends.run_ids, count_ends.scheduled_for, count_ends.statuses,
                  count_ends.finished_at, count_ends.durations_ms, count_ends.late_reports)
        AS i(task_id, run_id, scheduled_for, status, finished_at, duration_ms, late_report)
      LEFT JOIN task_stat s USING (task_id)
  ), success AS (
    SELECT task_id, max(finished_at) AS success_at FROM input WHERE status = 'succeeded' GROUP BY task_id
  ), newest AS (
    SELECT DISTINCT ON (task_id) * FROM input ORDER BY task_id, finished_at DESC, run_id DESC
  ), total AS (
    SELECT i.task_id, s.success_at,
           count(*) FILTER (WHERE i.is_failure AND NOT i.late_report
                              AND i.finished_at > coalesce(greatest(s.success_at, i.prior_success_at), '-infinity')) AS failures_since,
           count(*) FILTER (WHERE NOT i.late_report) AS runs,
           count(*) FILTER (WHERE i.is_failure AND NOT i.late_report)
             - count(*) FILTER (WHERE NOT i.is_failure AND i.late_report) AS failures
      FROM input i LEFT JOIN success s USING (task_id) GROUP BY i.task_id, s.success_at
  )
  INSERT INTO task_stat AS s (task_id, last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms,
                              last_success_at, consecutive_failures, runs_total, failures_total)
  SELECT t.task_id, n.run_id, n.scheduled_for, n.status, n.finished_at, n.duration_ms, t.success_at, t.failures_since, t.runs,
         greatest(t.failures, 0)
    FROM total t JOIN newest n USING (task_id) ORDER BY t.task_id
  ON CONFLICT (task_id) DO UPDATE SET
    (last_run_id, last_scheduled_for, last_status, last_finished_at, last_duration_ms) =
      (SELECT CASE WHEN newer THEN excluded.last_run_id ELSE s.last_run_id END,
              CASE WHEN newer THEN excluded.last_scheduled_for ELSE s.last_scheduled_for END,
              CASE WHEN newer THEN excluded.last_status ELSE s.last_status END,
              CASE WHEN newer THEN excluded.last_finished_at ELSE s.last_finished_at END,
              CASE WHEN newer THEN excluded.last_duration_ms ELSE s.last_duration_ms END
         FROM (SELECT (excluded.last_finished_at >= s.last_finished_at OR excluded.last_run_id = s.last_run_id
                       OR s.last_finished_at IS NULL) AS newer) n),
    last_success_at = greatest(s.last_success_at, excluded.last_success_at),
    -- A success ends the count, unless something that ended after it was counted already.
    consecutive_failures = excluded.consecutive_failures
      + CASE WHEN excluded.last_success_at >= s.last_finished_at
               OR (s.last_run_id = excluded.last_run_id AND excluded.last_status = 'succeeded') THEN 0
             ELSE s.consecutive_failures END,
    runs_total = s.runs_total + excluded.runs_total,
    failures_total = greatest(s.failures_total + (SELECT t.failures FROM total t WHERE t.task_id = s.task_id), 0)
$$;
COMMENT ON FUNCTION count_ends(bigint[], bigint[], timestamptz[], text[], timestamptz[], double precision[], boolean[]) IS 'Counts ends of attempts in task_stat. Failures are failed, timed_out and lost; an end that is older than the newest one known only counts.';

CREATE FUNCTION ensure_run_log_partition(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  lower_bound timestamptz := date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
  upper_bound timestamptz := (date_trunc('month', at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
  partition text := 'run_log_' || to_char(at AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  IF to_regclass(format('%I.%I', current_schema(), partition)) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || '.run_log partitions', 0));
  IF to_regclass(format('%I.%I', current_schema(), partition)) IS NOT NULL THEN RETURN; END IF;
  -- Made first and attached then: CREATE TABLE ... PARTITION OF would wait for every open transaction that has read the run
  -- log, and everybody else would wait for it.
  EXECUTE format('CREATE TABLE %I (LIKE run_log INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS) WITH (fillfactor = 60)',
                 partition);
  EXECUTE format('ALTER TABLE run_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, lower_bound, upper_bound);
END $$;
COMMENT ON FUNCTION ensure_run_log_partition(timestamptz) IS 'Makes the monthly partition of run_log that holds this instant, if it is not there.';

CREATE FUNCTION ensure_run_output_partition(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  lower_bound timestamptz := date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
  upper_bound timestamptz := (date_trunc('day', at AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC';
  partition text := 'run_output_' || to_char(at AT TIME ZONE 'UTC', 'YYYY_MM_DD');
BEGIN
  IF to_regclass(format('%I.%I', current_schema(), partition)) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || '.run_output partitions', 0));
  IF to_regclass(format('%I.%I', current_schema(), partition)) IS NOT NULL THEN RETURN; END IF;
  -- As for the run log.
  EXECUTE format('CREATE TABLE %I (LIKE run_output INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
  EXECUTE format('ALTER TABLE run_output ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, lower_bound, upper_bound);
END $$;
COMMENT ON FUNCTION ensure_run_output_partition(timestamptz) IS 'Makes the daily partition of run_output that holds this instant, if it is not there.';
