//! The command line: what can be typed. What is done about it is `command`'s business.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::VARIABLES;

/// Everything that can be typed.
#[derive(Debug, Parser)]
#[command(
    name = "dropcron",
    version,
    about = "Drop a Python script into a directory; get a row in Postgres for every instant it was due",
    after_help = EXAMPLES,
    after_long_help = long_help(),
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What is to be done.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every command takes.
#[derive(Args, Debug)]
pub struct Common {
    /// Directory of scripts [default: ./scripts, or DROPCRON_SCRIPTS_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub scripts: Option<PathBuf>,
    /// Directory of the private Postgres and the journal [default: DROPCRON_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Talk to the `dropcron serve` at this URL instead of a database [default: DROPCRON_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with the token for that server [default: DROPCRON_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run scripts on their schedules, until SIGTERM or Ctrl-C
    #[command(
        after_help = "Examples:\n  dropcron serve\n  DATABASE_URL=postgres://me@db/ops dropcron serve --scripts /srv/scripts"
    )]
    Serve,
    /// Say whether the service of this data directory works: its loops, its heartbeat, its database
    #[command(
        after_help = "Examples:\n  dropcron health\n  dropcron health --json | jq -r '.problems[]'\n\nEnds with 0 if it does, with 1 if not, with 4 if the database cannot be reached."
    )]
    Health(JsonArgs),
    /// Look over this system: clocks, disks, rights, Python, the database; say what must be mended, and how
    #[command(
        after_help = "Examples:\n  dropcron doctor\n  dropcron doctor --json | jq '.[] | select(.level == \"problem\")'"
    )]
    Doctor(JsonArgs),
    /// Read every script without running it, and say what is wrong
    #[command(
        after_help = "Examples:\n  dropcron check\n  dropcron check scripts/prices/btc.py\n  dropcron check --json | jq '.[] | select(.state == \"problem\")'"
    )]
    Check(CheckArgs),
    /// Show the next fire times of a schedule or a task, and what people get wrong about it
    #[command(
        after_help = "Examples:\n  dropcron next '30 2 * * *' --timezone Europe/Berlin\n  dropcron next prices/btc --count 20\n  dropcron next '0 9 * * MON' --from 2027-01-01T00:00:00Z --json"
    )]
    Next(NextArgs),
    /// Run a task or a file once, now, in this terminal; recorded like any other run
    #[command(
        after_help = "Examples:\n  dropcron run prices/btc\n  dropcron run ./somewhere/else.py --arg city=Paris\n  dropcron run report --as-of 2026-11-01T02:30:00Z --json"
    )]
    Run(RunArgs),
    /// List tasks: how they stand, when they are due next; of one task also what holds for it
    #[command(
        after_help = "Examples:\n  dropcron tasks\n  dropcron tasks prices/btc\n  dropcron tasks --json | jq -r '.[].name'"
    )]
    Tasks(TasksArgs),
    /// List rows of the run log, newest first
    #[command(
        after_help = "Examples:\n  dropcron runs --task prices/btc --since 24h\n  dropcron runs --status failed --json"
    )]
    Runs(RunsArgs),
    /// Print what a run printed
    #[command(after_help = "Examples:\n  dropcron logs 4711\n  dropcron logs 4711 -f")]
    Logs(LogsArgs),
    /// Say what became of an instant, and the facts that decided it
    #[command(
        after_help = "Examples:\n  dropcron why backup\n  dropcron why backup 02:30\n  dropcron why backup 2026-11-01T02:30\n  dropcron why backup 2026-11-01T02:30:00Z --json"
    )]
    Why(WhyArgs),
    /// List the numbers that tasks returned, newest first; accept or reject one that is suspect
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  dropcron values\n  dropcron values prices/btc value --since 30d\n  dropcron values --suspect\n  dropcron values accept prices/btc value 2026-11-25T02:30:00Z --note 'it really fell'"
    )]
    Values(ValuesArgs),
    /// Write what is stored to standard output, for other programs
    #[command(
        subcommand,
        after_help = "Examples:\n  dropcron export values --task prices/btc --format csv > btc.csv"
    )]
    Export(ExportVerb),
    /// Take what other programs have stored
    #[command(
        subcommand,
        after_help = "Examples:\n  dropcron import values --task prices/btc btc.csv"
    )]
    Import(ImportVerb),
    /// Run the instants of the past that have no successful run, oldest first, one at a time
    #[command(
        after_help = "Examples:\n  dropcron backfill prices/btc --from 2026-11-01T00:00 --to 2026-11-07T00:00\n  dropcron backfill prices/btc --from 2026-11-01T00:00Z --yes\n  dropcron backfill prices/btc --cancel"
    )]
    Backfill(BackfillArgs),
    /// Print the usual reports: days, failures, values, or what was missed
    #[command(
        after_help = "Examples:\n  dropcron report\n  dropcron report failures --since 24h\n  dropcron report values --task prices/btc --since 90d --csv > prices.csv\n  dropcron report daily --json | jq '.[] | select(.success_rate < 0.99)'"
    )]
    Report(ReportArgs),
    /// Make the database roles that may read the reports or act through them, or print their SQL
    #[command(after_help = "Examples:\n  dropcron roles\n  dropcron roles --sql | psql \"$ADMIN_URL\"")]
    Roles(RolesArgs),
    /// Say what changed between the last run that succeeded and the first that failed after it, or between two runs
    #[command(
        after_help = "Examples:\n  dropcron diff prices/btc\n  dropcron diff prices/btc 4711 4712\n  dropcron diff prices/btc --json | jq -r .script.diff"
    )]
    Diff(DiffArgs),
    /// Stop a task from firing, until `resume`
    #[command(after_help = "Examples:\n  dropcron pause backup --reason 'disk is being replaced'")]
    Pause(PauseArgs),
    /// Let a paused task fire again, from now on: a pause is never replayed
    #[command(after_help = "Examples:\n  dropcron resume backup")]
    Resume(TaskArgs),
    /// Stop a run, wherever it runs
    #[command(after_help = "Examples:\n  dropcron cancel 4711")]
    Cancel(CancelArgs),
    /// Try the channels of notifications, or list what was sent
    #[command(
        subcommand,
        after_help = "Examples:\n  dropcron notify test\n  dropcron notify test ops\n  dropcron notify list --since 24h"
    )]
    Notify(NotifyVerb),
    /// Roll days up, and remove what is older than it is to be kept: what the service does by itself every hour, now
    #[command(
        after_help = "Examples:\n  dropcron prune --dry-run\n  DROPCRON_KEEP_RUNS=90d dropcron prune --dry-run --json | jq '.partitions'"
    )]
    Prune(PruneArgs),
    /// List the packages of scripts as they are on this machine
    #[command(
        after_help = "Examples:\n  dropcron environments\n  dropcron environments prune --dry-run\n  dropcron environments --json | jq '.[] | select(.state == \"needs_attention\")'",
        args_conflicts_with_subcommands = true
    )]
    Environments(EnvironmentsArgs),
    /// Show the packages that a task has, or get it newer ones
    #[command(after_help = "Examples:\n  dropcron lock prices/btc\n  dropcron lock prices/btc --upgrade")]
    Lock(LockArgs),
    /// Make, list and revoke the tokens that open the API and the page
    #[command(
        subcommand,
        after_help = "Examples:\n  dropcron token create ci --role operator\n  dropcron token list\n  dropcron token revoke ci"
    )]
    Token(TokenVerb),
    /// Open psql on the database in use
    #[command(
        after_help = "Examples:\n  dropcron psql\n  dropcron psql -c 'select task_name, status, return_value from run_log order by scheduled_for desc limit 10'"
    )]
    Psql(PsqlArgs),
    /// Take care of the private Postgres
    #[command(
        subcommand,
        after_help = "Examples:\n  dropcron database upgrade\n  dropcron database upgrade --to 17 --json"
    )]
    Database(DatabaseVerb),
    /// Write shell completions or manual pages, for packages
    #[command(subcommand, hide = true)]
    Generate(GenerateVerb),
    /// Print the URL of the database in use
    #[command(
        name = "database-url",
        after_help = "Examples:\n  pg_dump \"$(dropcron database-url)\""
    )]
    DatabaseUrl(JsonArgs),
}

/// Output for machines.
#[derive(Args, Debug)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with the private Postgres.
#[derive(Debug, Subcommand)]
pub enum DatabaseVerb {
    /// Move the private Postgres to a newer major version, with the server programs that are installed
    #[command(after_help = "Examples:\n  dropcron database upgrade\n  dropcron database upgrade --to 17 --json")]
    Upgrade(DatabaseUpgradeArgs),
}

/// What `database upgrade` takes.
#[derive(Args, Debug)]
pub struct DatabaseUpgradeArgs {
    /// The major version to move to [default: the newest that is installed]
    #[arg(long, value_name = "VERSION")]
    pub to: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be generated.
#[derive(Debug, Subcommand)]
pub enum GenerateVerb {
    /// The completions of a shell, to standard output
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Manual pages: one for dropcron, one for each of its commands
    Man {
        /// The directory to write them into
        directory: PathBuf,
    },
}

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// A scripts directory, or one file [default: the scripts directory]
    pub path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `next` takes.
#[derive(Args, Debug)]
pub struct NextArgs {
    /// A schedule (`30 2 * * *`, `@daily`, `@every 10m`) or the name of a task
    #[arg(value_name = "SCHEDULE|TASK")]
    pub subject: String,
    /// Zone to read the schedule in [default: the task's, DROPCRON_TIMEZONE, or UTC]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Start after this instant, as RFC 3339 [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<jiff::Timestamp>,
    /// How many fire times
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `run` takes.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The name of a task, or a file
    #[arg(value_name = "TASK|FILE")]
    pub subject: String,
    /// A keyword argument of `run()` for this run alone; the value is JSON if it reads as such, else text
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub args: Vec<String>,
    /// Run as if for this earlier instant, as RFC 3339
    #[arg(long, value_name = "INSTANT")]
    pub as_of: Option<jiff::Timestamp>,
    /// Start beside a run that is still active, whatever the overlap policy says
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `tasks` takes.
#[derive(Args, Debug)]
pub struct TasksArgs {
    /// Only this task, with its policies and limits
    pub task: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `runs` takes.
#[derive(Args, Debug)]
pub struct RunsArgs {
    /// Only of this task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Only with this status: queued, running, succeeded, failed, timed_out, cancelled, lost, skipped, missed
    #[arg(long, value_name = "STATUS")]
    pub status: Option<crate::run::Status>,
    /// Only due within this time, such as 24h
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// At most so many rows
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub limit: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `logs` takes.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Number of the run, as `dropcron runs` shows it
    pub run: i64,
    /// Go on until the run has ended
    #[arg(short, long)]
    pub follow: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `why` takes.
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// The task, also one that is gone or was renamed
    pub task: String,
    /// `02:30` (the latest one), `2026-11-01T02:30` (local in the task's zone) or `2026-11-01T02:30:00Z`; seconds may follow [default: the latest instant that was due]
    #[arg(num_args = 0..=2)]
    pub time: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `values` takes.
#[derive(Args, Debug)]
pub struct ValuesArgs {
    /// What is to be done with a point, other than to list it
    #[command(subcommand)]
    pub verb: Option<ValuesVerb>,
    /// Only of this task
    pub task: Option<String>,
    /// Only of this series
    pub series: Option<String>,
    /// Only within this time, such as 30d
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// At most so many points
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub last: i64,
    /// Only what is suspect and nobody has accepted or rejected
    #[arg(long)]
    pub suspect: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// What can be done with a point.
#[derive(Debug, Subcommand)]
pub enum ValuesVerb {
    /// Say that a point counts, whatever is odd about it
    #[command(
        after_help = "Examples:\n  dropcron values accept prices/btc value 2026-11-25T02:30:00Z --note 'it really fell'"
    )]
    Accept(VerdictArgs),
    /// Say that a point does not count; it stays stored, and marked
    #[command(after_help = "Examples:\n  dropcron values reject prices/btc value 2026-11-25T02:30:00Z")]
    Reject(VerdictArgs),
}

/// What `values accept` and `values reject` take.
#[derive(Args, Debug)]
pub struct VerdictArgs {
    /// The task
    pub task: String,
    /// The series
    pub series: String,
    /// The instant of the point, as `dropcron values` shows it
    pub at: jiff::Timestamp,
    /// Why, for others who look
    #[arg(long)]
    pub note: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be exported.
#[derive(Debug, Subcommand)]
pub enum ExportVerb {
    /// The points of a task, in the order of series and instant
    #[command(
        after_help = "Examples:\n  dropcron export values --task prices/btc > btc.csv\n  dropcron export values --task prices/btc --series value --since 365d --format jsonl"
    )]
    Values(ExportValuesArgs),
}

/// What `export values` takes.
#[derive(Args, Debug)]
pub struct ExportValuesArgs {
    /// The task
    #[arg(long, value_name = "TASK")]
    pub task: String,
    /// Only this series
    #[arg(long, value_name = "SERIES")]
    pub series: Option<String>,
    /// Only within this time, such as 365d
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
}

/// How points are written to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated, with a line of column names
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// Points of the past, from CSV or JSON lines with `at`, `series` and `value`
    #[command(
        after_help = "Examples:\n  dropcron import values --task prices/btc btc.csv\n  dropcron import values --task prices/btc --timezone Europe/Berlin --skip-bad - < btc.jsonl"
    )]
    Values(ImportValuesArgs),
}

/// What `import values` takes.
#[derive(Args, Debug)]
pub struct ImportValuesArgs {
    /// The file, or `-` for standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// The task
    #[arg(long, value_name = "TASK")]
    pub task: String,
    /// How it is written [default: jsonl if it begins with `{`, else csv]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The series of lines that name none
    #[arg(long, value_name = "SERIES", default_value = "value")]
    pub series: String,
    /// The zone of times that name none
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Leave out bad lines, and import the others
    #[arg(long)]
    pub skip_bad: bool,
    /// Replace points that are there already
    #[arg(long)]
    pub replace: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `backfill` takes.
#[derive(Args, Debug)]
pub struct BackfillArgs {
    /// The task
    pub task: String,
    /// From this time on: `2026-11-01T02:30` (local in the task's zone) or `2026-11-01T02:30:00Z`
    #[arg(
        long,
        value_name = "TIME",
        required_unless_present = "cancel",
        conflicts_with = "cancel"
    )]
    pub from: Option<String>,
    /// Up to and including this time [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "cancel")]
    pub to: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Cancel what an earlier backfill of the task has not started yet
    #[arg(long)]
    pub cancel: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `report` can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportKind {
    /// Each task on each day: runs, success rate, durations, lateness
    Daily,
    /// Runs that failed for good
    Failures,
    /// Each series on each day: lowest, highest, mean, last
    Values,
    /// Spans of instants that nobody ran
    Missed,
}

/// What `report` takes.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Which report
    #[arg(value_enum, default_value_t = ReportKind::Daily)]
    pub kind: ReportKind,
    /// Only of this task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// How far back, such as 24h; whole days in UTC where the report is by day
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub since: String,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `roles` takes.
#[derive(Args, Debug)]
pub struct RolesArgs {
    /// Print the SQL, for somebody who may make roles, and do nothing
    #[arg(long)]
    pub sql: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `diff` takes.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The task
    pub task: String,
    /// Two runs of it, as `dropcron runs` shows them [default: the last that succeeded, the first that failed after it]
    #[arg(value_name = "RUN", num_args = 2)]
    pub runs: Vec<i64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `pause` takes.
#[derive(Args, Debug)]
pub struct PauseArgs {
    /// The task
    pub task: String,
    /// Why, for others who look
    #[arg(long)]
    pub reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What commands on one task take.
#[derive(Args, Debug)]
pub struct TaskArgs {
    /// The task
    pub task: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `cancel` takes.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Number of the run, as `dropcron runs` shows it
    pub run: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done about notifications.
#[derive(Debug, Subcommand)]
pub enum NotifyVerb {
    /// Send a test through every channel, or one, now and from here
    #[command(after_help = "Examples:\n  dropcron notify test\n  dropcron notify test ops --json")]
    Test(NotifyTestArgs),
    /// List deliveries, newest first
    #[command(
        after_help = "Examples:\n  dropcron notify list --since 24h\n  dropcron notify list --json | jq '.[] | select(.state == \"given_up\")'"
    )]
    List(NotifyListArgs),
}

/// What `notify test` takes.
#[derive(Args, Debug)]
pub struct NotifyTestArgs {
    /// A channel, as DROPCRON_NOTIFY_FILE names it [default: all of them]
    pub channel: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `notify list` takes.
#[derive(Args, Debug)]
pub struct NotifyListArgs {
    /// Only made within this time, such as 24h
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// At most so many rows
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub limit: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `prune` takes.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `environments` takes.
#[derive(Args, Debug)]
pub struct EnvironmentsArgs {
    /// What is to be done about them.
    #[command(subcommand)]
    pub verb: Option<EnvironmentsVerb>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done about environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentsVerb {
    /// Remove those that no task needs and no run has used for long; the service does that by itself
    #[command(
        after_help = "Examples:\n  dropcron environments prune --dry-run\n  dropcron environments prune --unused-for 1d --json"
    )]
    Prune(PruneEnvironmentsArgs),
}

/// What `environments prune` takes.
#[derive(Args, Debug)]
pub struct PruneEnvironmentsArgs {
    /// Those that no run has used for so long [default: 14d]
    #[arg(long, value_name = "DURATION")]
    pub unused_for: Option<String>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `lock` takes.
#[derive(Args, Debug)]
pub struct LockArgs {
    /// The task
    pub task: String,
    /// Resolve its packages anew, to the newest versions that fit
    #[arg(long)]
    pub upgrade: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done about tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token, and print it: it is stored as its hash only, and cannot be shown again
    #[command(
        after_help = "Examples:\n  dropcron token create ci --role operator\n  dropcron token create wall-display > token"
    )]
    Create(TokenCreateArgs),
    /// List tokens, without what opens anything
    #[command(after_help = "Examples:\n  dropcron token list --json | jq '.[] | select(.last_used_at == null)'")]
    List(JsonArgs),
    /// Revoke a token: it opens nothing any more, and browsers that logged in with it are logged out
    #[command(after_help = "Examples:\n  dropcron token revoke ci")]
    Revoke(TokenRevokeArgs),
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenRole {
    /// See everything but tokens and the audit
    Reader,
    /// Also pause, run, cancel and judge values
    Operator,
    /// Also change scripts, which are code that runs, and tokens
    Admin,
}

/// What `token create` takes.
#[derive(Args, Debug)]
pub struct TokenCreateArgs {
    /// What people call it; it stands where changes are recorded
    pub name: String,
    /// What it may do
    #[arg(long, value_enum, default_value_t = TokenRole::Reader)]
    pub role: TokenRole,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `token revoke` takes.
#[derive(Args, Debug)]
pub struct TokenRevokeArgs {
    /// Its name
    pub name: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `psql` takes.
#[derive(Args, Debug)]
pub struct PsqlArgs {
    /// Passed to psql
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

const EXAMPLES: &str = "Examples:
  dropcron serve                      run ./scripts on their schedules
  dropcron check                      say what is wrong with them
  dropcron next '30 2 * * *' --timezone Europe/Berlin
  dropcron runs --status failed --since 24h

Exit codes: 0 ok, 1 the run failed or problems were found, 2 usage or configuration, 3 not found, 4 cannot reach the database,
5 something on this machine is in the way (a file, a directory, an address, a full disk)";

fn long_help() -> String {
    let mut text = format!("{EXAMPLES}\n\nEnvironment variables:\n");
    for variable in VARIABLES {
        text.push_str(&format!(
            "  {}\n      {} [default: {}]\n",
            variable.name, variable.meaning, variable.default
        ));
    }
    text
}
