//! The builder: sees to it that what scripts ask for is resolved once, and that its environment is on this machine.
//!
//! Whoever reads the scripts directory also resolves; each node builds, from the lock that came of it. A run takes what is ready
//! (`at_once`), or waits for it (`wait`). What fails is tried again, less and less often.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wake::Wake;
use crate::config::Config;
use crate::database::Database;
use crate::executor::{Executor, Interpreter};
use crate::packages::{
    Environments, Interpreters, Lease, Lock, Log, Pruned, Requirements, Source, UNUSED_FOR, Uv, UvError, UvSettings,
};
use crate::script::ContentHash;
use crate::store::environments::{self, EnvironmentState, LockRow};
use crate::store::runs::Claim;
use crate::store::{Connection, StoreError};

/// Pauses before something that failed is tried again: the first, doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));

/// Between looks at the database, and between writing down what is said.
const LOOK: Duration = Duration::from_millis(500);

/// How long what is being made may take to end.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks for environments that nobody uses any more.
const PRUNE: Duration = Duration::from_secs(60 * 60);

/// Makes environments; see the module.
pub struct Builder {
    config: Arc<Config>,
    database: Database,
    wake: Arc<Wake>,
    executor: Executor,
    interpreters: Interpreters,
    environments: Environments,
    uv: Result<Uv, UvError>,
    /// Whether a run that finds nothing resolved resolves it here: in a terminal, where nobody else may do it.
    is_alone: bool,
    locks: Mutex<HashMap<ContentHash, Arc<Lock>>>,
    building: Mutex<HashMap<(ContentHash, PathBuf), Building>>,
    attempts: Mutex<HashMap<ContentHash, Attempts>>,
    failed_builds: Mutex<HashMap<ContentHash, (Attempts, String)>>,
    pruned: Mutex<Option<Instant>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One that is being made: its end, for all who wait for it.
type Building = watch::Receiver<Option<Result<(), String>>>;

/// How often something failed, and what comes next.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    failures: u32,
    is_under_way: bool,
    not_before: Option<Instant>,
}

impl Attempts {
    fn may_begin(&self) -> bool {
        !self.is_under_way && self.not_before.is_none_or(|at| at <= Instant::now())
    }

    fn failed(&mut self) {
        let pause = RETRY.0 * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.is_under_way = false;
        self.not_before = Some(Instant::now() + pause.min(RETRY.1));
    }
}

/// What a run is to be started with.
pub struct Ready {
    /// Its interpreter.
    pub interpreter: Interpreter,
    /// Keeps its environment; none where the interpreter is all.
    pub lease: Option<Lease>,
    /// Its packages.
    pub lock_sha256: Option<ContentHash>,
}

/// What came of resolving anew.
pub struct Renewed {
    /// The lock before.
    pub before: Option<Arc<Lock>>,
    /// The lock now.
    pub after: Arc<Lock>,
}

impl Builder {
    /// `interpreter`: the default of scripts, or why there is none. `is_alone`: in a terminal.
    pub fn new(
        config: Arc<Config>,
        database: Database,
        wake: Arc<Wake>,
        executor: Executor,
        interpreter: Result<Interpreter, String>,
        is_alone: bool,
    ) -> Arc<Builder> {
        let data = &config.data_directory;
        let search_path = config.environment.get("PATH").cloned();
        let settings = UvSettings {
            only_binary: config.only_binary,
            python_downloads: config.python_downloads,
            time_limit: config.build_timeout,
            cache: data.join("uv-cache"),
            pythons: data.join("pythons"),
        };
        Arc::new(Builder {
            uv: Uv::find(
                config.uv.as_deref(),
                search_path.as_deref(),
                config.environment.variables(),
                settings,
                executor.clone(),
            ),
            interpreters: Interpreters::new(interpreter, search_path, data),
            environments: Environments::new(data, executor.user().is_some()),
            config,
            database,
            wake,
            executor,
            is_alone,
            locks: Mutex::default(),
            building: Mutex::default(),
            attempts: Mutex::default(),
            failed_builds: Mutex::default(),
            pruned: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// The environments of this machine.
    pub fn environments(&self) -> &Environments {
        &self.environments
    }

    /// What is to be resolved for a script; none if the default interpreter is all that it needs.
    pub fn needed(&self, requirements: Option<Requirements>) -> Option<Requirements> {
        requirements.filter(|wanted| {
            !wanted.is_python_only() || !self.interpreters.default_fits(wanted.requires_python.as_deref())
        })
    }

    // ---------- what runs ask for ----------

    /// What a run is to be started with, if it is there.
    pub fn at_once(&self, claim: &Claim) -> Option<Ready> {
        let requires_python = claim.requires_python.as_deref();
        if claim.requirements_sha256.is_none() {
            let named = claim.python.as_deref().map(Path::new);
            let interpreter = match named {
                None if self.interpreters.default_fits(requires_python) => self.interpreters.default().ok().cloned(),
                _ => self.interpreters.remembered(named, requires_python, None),
            };
            return Some(Ready {
                interpreter: interpreter?,
                lease: None,
                lock_sha256: None,
            });
        }
        let lock = self.locks().get(&claim.lock_sha256?).cloned()?;
        let interpreter = self.interpreters.remembered(None, requires_python, Some(lock.python))?;
        self.open(&lock, interpreter)
    }

    /// The same, when it is there; `Err` says why it never will be. Whoever stops waiting does not stop what is being made.
    pub async fn wait(self: &Arc<Self>, claim: &Claim) -> Result<Ready, String> {
        let requires_python = claim.requires_python.clone();
        let Some(requirements) = claim.requirements_sha256 else {
            let named = claim.python.clone().map(PathBuf::from);
            let interpreter = self.choose(named, requires_python, None).await?;
            return Ok(Ready {
                interpreter,
                lease: None,
                lock_sha256: None,
            });
        };
        let lock = match claim.lock_sha256 {
            Some(lock) => lock,
            None => self.wait_for_lock(requirements).await?,
        };
        loop {
            let Some(lock) = self.lock(lock).await? else {
                return Err(format!("its packages are lock {lock}, which is not in the database"));
            };
            let interpreter = self.choose(None, requires_python.clone(), Some(lock.python)).await?;
            if let Some(ready) = self.open(&lock, interpreter.clone()) {
                return Ok(ready);
            }
            if let Some(problem) = self.failed_a_moment_ago(lock.sha256()) {
                return Err(problem);
            }
            self.build(&lock, &interpreter, Arc::new(self.log())).await?;
        }
    }

    /// Why a lock could not be built here just now: not every due instant tries again.
    fn failed_a_moment_ago(&self, lock: ContentHash) -> Option<String> {
        let failed = self.failed_builds();
        let (attempts, problem) = failed.get(&lock).filter(|_| !self.is_alone)?;
        (!attempts.may_begin()).then(|| problem.clone())
    }

    fn open(&self, lock: &Lock, interpreter: Interpreter) -> Option<Ready> {
        let lock_sha256 = Some(lock.sha256());
        if lock.is_empty() {
            return Some(Ready {
                interpreter,
                lease: None,
                lock_sha256,
            });
        }
        let lease = self.environments.open(lock.sha256(), &interpreter)?;
        Some(Ready {
            interpreter: interpreter.in_environment(lease.python()),
            lease: Some(lease),
            lock_sha256,
        })
    }

    /// What the database is away for is waited for, like everything else.
    async fn wait_for_lock(self: &Arc<Self>, requirements: ContentHash) -> Result<ContentHash, String> {
        let mut was_asked = false;
        loop {
            if let Ok(Some(state)) = self.state(requirements).await {
                match (state.state.as_str(), state.lock_sha256) {
                    ("ready", Some(lock)) => return Ok(lock),
                    _ if self.is_alone && !was_asked => {
                        was_asked = true;
                        self.attempts().remove(&requirements);
                        self.resolve_in_background(&state);
                    }
                    ("needs_attention", _) => return Err(state.problem.unwrap_or_default()),
                    _ => {}
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn state(&self, requirements: ContentHash) -> anyhow::Result<Option<EnvironmentState>> {
        let mut connection = self.database.connection().await?;
        let mut states = environments::states(&mut connection, &[requirements]).await?;
        Ok(states.remove(&requirements))
    }

    /// `Err` is for people; that the database is away is waited out.
    async fn lock(&self, sha256: ContentHash) -> Result<Option<Arc<Lock>>, String> {
        loop {
            match self.read_lock(sha256).await {
                Ok(Some(row)) => {
                    let lock = Arc::new(Lock::new(row.content, &row.python).map_err(|error| error.to_string())?);
                    self.locks().insert(sha256, lock.clone());
                    return Ok(Some(lock));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "a lock cannot be read yet");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    async fn read_lock(&self, sha256: ContentHash) -> anyhow::Result<Option<LockRow>> {
        if let Some(known) = self.locks().get(&sha256) {
            return Ok(Some(LockRow {
                content: known.content.clone(),
                python: known.python_text(),
            }));
        }
        let mut connection = self.database.connection().await?;
        Ok(environments::lock(&mut connection, sha256).await?)
    }

    async fn choose(
        self: &Arc<Self>,
        named: Option<PathBuf>,
        requires_python: Option<String>,
        at_least: Option<(u32, u32)>,
    ) -> Result<Interpreter, String> {
        let builder = self.clone();
        let chosen = tokio::task::spawn_blocking(move || {
            builder.interpreters.choose(
                named.as_deref(),
                requires_python.as_deref(),
                at_least,
                builder.uv.as_ref().ok(),
            )
        });
        match chosen.await {
            Ok(chosen) => chosen.map_err(|error| error.to_string()),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Makes the environment of a lock, or waits for whoever makes it already.
    async fn build(self: &Arc<Self>, lock: &Arc<Lock>, interpreter: &Interpreter, log: Arc<Log>) -> Result<(), String> {
        if lock.is_empty() {
            return Ok(());
        }
        let mut building = self.join_or_begin(lock, interpreter, log);
        match building.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(result)) => result,
            _ => Err("the environment was not made: dropcron is leaving".to_owned()),
        }
    }

    fn join_or_begin(self: &Arc<Self>, lock: &Arc<Lock>, interpreter: &Interpreter, log: Arc<Log>) -> Building {
        let key = (lock.sha256(), interpreter.path.clone());
        let mut all = self.building.lock().expect("no holder of this lock can panic");
        if let Some(known) = all.get(&key) {
            return known.clone();
        }
        let (sender, receiver) = watch::channel(None);
        all.insert(key.clone(), receiver.clone());
        let (builder, lock, interpreter) = (self.clone(), lock.clone(), interpreter.clone());
        self.spawn(async move {
            let result = builder.build_now(&lock, &interpreter, &log).await;
            builder
                .building
                .lock()
                .expect("no holder of this lock can panic")
                .remove(&key);
            let _ = sender.send(Some(result));
        });
        receiver
    }

    async fn build_now(&self, lock: &Lock, interpreter: &Interpreter, log: &Log) -> Result<(), String> {
        let uv = self.uv.as_ref().map_err(ToString::to_string)?;
        let begun = Instant::now();
        let result = self
            .environments
            .build(lock, interpreter, uv, &self.executor, log)
            .await;
        let result = result.map_err(|error| error.to_string());
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lock_sha256 = lock.sha256();
        let mut failed = self.failed_builds();
        match &result {
            Ok(()) => {
                failed.remove(&lock_sha256);
                tracing::info!(lock = %lock_sha256, duration_ms, "an environment is ready");
            }
            Err(problem) => {
                let (attempts, last) = failed.entry(lock_sha256).or_default();
                attempts.failed();
                last.clone_from(problem);
                tracing::warn!(lock = %lock_sha256, duration_ms, %problem, "an environment cannot be made");
            }
        }
        drop(failed);
        result
    }

    // ---------- what the syncer asks for ----------

    /// One pass: what is asked for and not ready is resolved, unless somebody is at it or it failed a moment ago. Then what is
    /// in force is built ahead, and what nobody needs goes.
    pub async fn run_once(self: &Arc<Self>, connection: &mut Connection, resolves: bool) -> anyhow::Result<()> {
        if resolves {
            environments::follow(connection)
                .await
                .context("locks cannot be handed out")?;
            for state in environments::unsettled(connection)
                .await
                .context("environments cannot be read")?
            {
                self.resolve_in_background(&state);
            }
        }
        let in_force = environments::locks_in_force(connection)
            .await
            .context("locks cannot be read")?;
        for wanted in &in_force {
            self.build_ahead(wanted.lock_sha256, wanted.requires_python.clone());
        }
        let kept = in_force.iter().map(|wanted| wanted.lock_sha256).collect();
        self.prune_now_and_then(kept);
        Ok(())
    }

    /// Forgets that these failed: somebody has changed something.
    pub fn try_again(&self, requirements: ContentHash) {
        if let Some(attempts) = self.attempts().get_mut(&requirements) {
            attempts.not_before = None;
        }
    }

    /// Ends what is being made, with all that it started; what comes later makes it anew.
    pub async fn leave(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(LEAVE_PATIENCE, self.tasks.wait()).await;
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
    }

    fn resolve_in_background(self: &Arc<Self>, state: &EnvironmentState) {
        let hash = state.requirements_sha256;
        {
            let mut all = self.attempts();
            let attempts = all.entry(hash).or_default();
            if !attempts.may_begin() {
                return;
            }
            attempts.is_under_way = true;
        }
        let (builder, state) = (self.clone(), state.clone());
        self.spawn(async move {
            let result = builder.resolve(&state, false, "syncer").await;
            let mut all = builder.attempts();
            let attempts = all.entry(hash).or_default();
            match result {
                Ok(_) => {
                    all.remove(&hash);
                }
                Err(problem) => {
                    attempts.failed();
                    tracing::warn!(%problem, "packages that scripts ask for cannot be had; it is tried again");
                }
            }
            drop(all);
            builder.wake.syncer();
        });
    }

    /// Resolves what is asked for, builds it here, and writes down what came of it.
    pub async fn resolve(
        self: &Arc<Self>,
        state: &EnvironmentState,
        upgrade: bool,
        actor: &str,
    ) -> Result<Renewed, String> {
        let hash = state.requirements_sha256;
        let requirements: Requirements = serde_json::from_str(&state.requirements)
            .map_err(|error| format!("what is asked for cannot be read: {error}; edit the script, not the database"))?;
        let log = Arc::new(self.log());
        let saying = tokio::spawn(say_for_ever(self.database.clone(), hash, log.clone()));
        let before = match state.lock_sha256 {
            Some(lock) => self.lock(lock).await?,
            None => None,
        };
        if !state.is_ready() {
            self.note(|connection| Box::pin(environments::begin(connection, hash)))
                .await;
        }
        let resolved = self
            .resolve_and_build(&requirements, before.as_deref(), upgrade, &log)
            .await;
        saying.abort();
        let text = log.text();
        match resolved {
            Ok(lock) => {
                let row = LockRow {
                    content: lock.content.clone(),
                    python: lock.python_text(),
                };
                let (lock_sha256, actor) = (lock.sha256(), actor.to_owned());
                let mut connection = self.database.connection().await.map_err(|error| format!("{error:#}"))?;
                environments::settle(&mut connection, hash, lock_sha256, &row, &text, &actor)
                    .await
                    .map_err(|error| error.to_string())?;
                self.locks().insert(lock_sha256, lock.clone());
                Ok(Renewed { before, after: lock })
            }
            Err(problem) => {
                let said = problem.clone();
                self.note(move |connection| {
                    Box::pin(async move { environments::fail(connection, hash, &said, &text).await })
                })
                .await;
                Err(problem)
            }
        }
    }

    async fn resolve_and_build(
        self: &Arc<Self>,
        requirements: &Requirements,
        before: Option<&Lock>,
        upgrade: bool,
        log: &Arc<Log>,
    ) -> Result<Arc<Lock>, String> {
        let interpreter = self
            .choose_or_fetch(requirements.requires_python.as_deref(), log)
            .await?;
        let (major, minor, _) = interpreter.version_info;
        let content = if requirements.is_python_only() {
            String::new()
        } else {
            self.resolve_packages(requirements, &interpreter, before, upgrade, log)
                .await?
        };
        let lock = Lock::new(content, &format!("{major}.{minor}")).map_err(|error| error.to_string())?;
        let lock = Arc::new(lock);
        self.build(&lock, &interpreter, log.clone()).await?;
        Ok(lock)
    }

    async fn choose_or_fetch(
        self: &Arc<Self>,
        requires_python: Option<&str>,
        log: &Log,
    ) -> Result<Interpreter, String> {
        let wanted = requires_python.map(str::to_owned);
        let problem = match self.choose(None, wanted.clone(), None).await {
            Ok(interpreter) => return Ok(interpreter),
            Err(problem) => problem,
        };
        let (Ok(uv), Some(text)) = (&self.uv, requires_python) else {
            return Err(problem);
        };
        match uv.fetch_python(text, log).await {
            Ok(true) => self.choose(None, wanted, None).await,
            Ok(false) => Err(problem),
            Err(error) => Err(format!("{problem}\n{error}")),
        }
    }

    async fn resolve_packages(
        &self,
        requirements: &Requirements,
        interpreter: &Interpreter,
        before: Option<&Lock>,
        upgrade: bool,
        log: &Log,
    ) -> Result<String, String> {
        let uv = self.uv.as_ref().map_err(ToString::to_string)?;
        let failed = |error: std::io::Error| {
            format!(
                "the packages cannot be resolved in `{}`: {error}",
                self.config.data_directory.display()
            )
        };
        let workspace = self.environments.workspace().map_err(failed)?;
        let lock = workspace.path().join("lock.txt");
        let file = match &requirements.source {
            Source::Header => {
                let file = workspace.path().join("requirements.in");
                std::fs::write(&file, requirements.packages.join("\n") + "\n").map_err(failed)?;
                file
            }
            // As it is there: it may include others, and name directories beside it.
            Source::File(relative) => self.config.scripts_directory.join(relative),
        };
        if let Some(before) = before {
            std::fs::write(&lock, &before.content).map_err(failed)?;
        }
        uv.resolve(&file, interpreter, &lock, upgrade, log)
            .await
            .map_err(|error| error.to_string())?;
        std::fs::read_to_string(&lock).map_err(failed)
    }

    /// Writes something down that is only for people: it is written again, or not needed, if the database does not take it.
    async fn note<F>(&self, statement: F)
    where
        F: for<'c> FnOnce(
            &'c mut Connection,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'c>>,
    {
        let result = async {
            let mut connection = self.database.connection().await?;
            statement(&mut connection).await?;
            anyhow::Ok(())
        };
        if let Err(error) = result.await {
            tracing::debug!(
                error = format!("{error:#}"),
                "the state of an environment cannot be written"
            );
        }
    }

    // ---------- what is in force ----------

    /// So that no run waits for what could have been there before.
    fn build_ahead(self: &Arc<Self>, sha256: ContentHash, requires_python: Option<String>) {
        let is_worth_it = self
            .failed_builds()
            .get(&sha256)
            .is_none_or(|(attempts, _)| attempts.may_begin());
        if !is_worth_it || self.is_here(sha256, requires_python.as_deref()) {
            return;
        }
        let builder = self.clone();
        self.spawn(async move {
            if let Err(problem) = builder.have_environment(sha256, requires_python).await {
                tracing::debug!(lock = %sha256, %problem, "an environment is not there ahead of its runs");
            }
        });
    }

    fn is_here(&self, sha256: ContentHash, requires_python: Option<&str>) -> bool {
        let Some(lock) = self.locks().get(&sha256).cloned() else {
            return false;
        };
        let Some(interpreter) = self.interpreters.remembered(None, requires_python, Some(lock.python)) else {
            return false;
        };
        lock.is_empty() || self.environments.has(sha256, &interpreter)
    }

    async fn have_environment(
        self: &Arc<Self>,
        sha256: ContentHash,
        requires_python: Option<String>,
    ) -> Result<(), String> {
        let Some(lock) = self.lock(sha256).await? else {
            return Ok(());
        };
        let interpreter = self.choose(None, requires_python, Some(lock.python)).await?;
        if lock.is_empty() || self.environments.has(sha256, &interpreter) {
            return Ok(());
        }
        self.build(&lock, &interpreter, Arc::new(self.log())).await
    }

    fn prune_now_and_then(self: &Arc<Self>, kept: HashSet<ContentHash>) {
        {
            let mut pruned = self.pruned.lock().expect("no holder of this lock can panic");
            if pruned.is_some_and(|at| at.elapsed() < PRUNE) {
                return;
            }
            *pruned = Some(Instant::now());
        }
        let builder = self.clone();
        self.spawn(async move {
            match builder.prune(kept, UNUSED_FOR, false).await {
                Ok(gone) if gone.is_empty() => {}
                Ok(gone) => tracing::info!(
                    environment.count = gone.len(),
                    bytes = gone.iter().map(|pruned| pruned.own_bytes).sum::<u64>(),
                    "environments that nobody used went"
                ),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "unused environments cannot be removed"),
            }
        });
    }

    /// Removes environments that no run has used for so long, except those of `kept`; what was only kept for them in uv's cache goes
    /// too.
    pub async fn prune(
        &self,
        kept: HashSet<ContentHash>,
        unused_for: Duration,
        dry_run: bool,
    ) -> anyhow::Result<Vec<Pruned>> {
        let environments = self.environments.clone();
        let gone = tokio::task::spawn_blocking(move || environments.prune(&kept, unused_for, dry_run))
            .await?
            .context("environments cannot be removed")?;
        if let (Ok(uv), false, false) = (&self.uv, gone.is_empty(), dry_run) {
            uv.tidy(&self.log()).await?;
        }
        Ok(gone)
    }

    fn log(&self) -> Log {
        if self.is_alone { Log::echoing() } else { Log::default() }
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, Arc<Lock>>> {
        self.locks.lock().expect("no holder of this lock can panic")
    }

    fn failed_builds(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, (Attempts, String)>> {
        self.failed_builds.lock().expect("no holder of this lock can panic")
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, Attempts>> {
        self.attempts.lock().expect("no holder of this lock can panic")
    }
}

/// Writes down what is said, while it goes on.
async fn say_for_ever(database: Database, requirements: ContentHash, log: Arc<Log>) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let text = log.text();
        if text == said {
            continue;
        }
        if let Ok(mut connection) = database.connection().await
            && environments::say(&mut connection, requirements, &text).await.is_ok()
        {
            said = text;
        }
    }
}
