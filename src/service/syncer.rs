//! The syncer: tasks brought in line with the files of the scripts directory.
//!
//! One node at a time does this, by lease; the others compare their own directory and report differences. A pass looks at every
//! file by stat, reads what changed, asks Python about contents it has not seen, and writes what is different. The
//! file system's hints only make the next pass come earlier.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use notify::{RecursiveMode, Watcher};
use tokio_util::sync::CancellationToken;

use super::builder::Builder;
use super::health::Pulse;
use super::scan::{self, Assessment, Content, FileProblem, Fingerprint, Found};
use super::wake::Wake;
use super::worker::Context;
use crate::config::Config;
use crate::executor::{Inspection, Interpreter};
use crate::packages::Requirements;
use crate::script::{ContentHash, Header, Notify, ScriptKind, Timeout};
use crate::store::tasks::{self, Registered, Registration, Version};
use crate::store::{Connection, environments, nodes};

/// How long the duty is held without being renewed, at least: a node that pauses for longer holds it for two pauses.
const DUTY: Duration = Duration::from_secs(30);

/// A file that was written less than this ago is looked at twice: its writer may not have finished.
const FRESH: Duration = Duration::from_secs(2);

/// Between the two looks at a fresh file.
const SETTLE: Duration = Duration::from_millis(100);

/// Hints gather for so long: editors write more than one file.
const GATHER: Duration = Duration::from_millis(50);

/// A task is retired when so many scans have not seen its file.
const SCANS_UNTIL_RETIRED: u32 = 2;

/// Contents that one interpreter is asked about, and rows of one statement.
const BATCH: usize = 500;

/// Contents of one statement are at most about so large together.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Scans may take at most this share of the time: large directories on slow mounts are looked at less often.
const LARGEST_SHARE: u32 = 50;

/// However long a scan took, the next one comes after so many of the usual pauses: it may have been the machine that was slow.
const LONGEST_PAUSES: u32 = 5;

/// Between passes that hints ask for: a script that writes into the scripts directory hints all the time.
const HINTED_PAUSE: Duration = Duration::from_millis(500);

/// A pass that takes longer hangs: a network mount that is gone lets nobody go.
const LONGEST_PASS: Duration = Duration::from_secs(900);

/// The syncer's memory; all of it can be read again.
pub struct Syncer {
    context: Context,
    pulse: Pulse,
    interpreter: Option<Interpreter>,
    builder: Arc<Builder>,
    /// From the last pass to this one, if nobody hinted.
    pause: Duration,
    /// What the last look at the directory took; nothing else of a pass counts, least of all an answer that was long in coming.
    scan: Duration,
    /// Whether the memory below was read while this node held the duty.
    holds_duty: bool,
    /// What each file was when it was last assessed.
    known: HashMap<String, Fingerprint>,
    registered: BTreeMap<String, Registered>,
    /// Files that only others import.
    libraries: HashSet<String>,
    /// Tasks whose files were not seen, with the number of scans.
    unseen: HashMap<i64, u32>,
    /// Files whose packages are not ready, with what they ask for: the version in force stays until they are.
    held: HashMap<String, (Fingerprint, ContentHash)>,
    /// What each file holds, while another node holds the duty.
    compared: HashMap<String, Compared>,
    /// What the last pass had to say, so that it is said once for as long as it is so.
    reported: HashSet<String>,
    /// What this pass has to say.
    to_report: HashSet<String>,
}

/// A file of this node, while another one reads its own directory.
#[derive(Clone, Copy)]
struct Compared {
    fingerprint: Fingerprint,
    sha256: ContentHash,
    is_task: bool,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Tasks made or changed.
    pub registered: usize,
    /// Tasks retired.
    pub retired: usize,
    /// Files that were still being written: another pass is worth it soon.
    pub unsettled: bool,
}

/// A file that changed, with what it is now.
struct Changed {
    found: Found,
    content: Option<Content>,
    assessment: Assessment,
    inspection: Option<String>,
}

impl Changed {
    /// The packages that it asks for.
    fn requirements(&self) -> Option<&Requirements> {
        match &self.assessment {
            Assessment::Task(task) => task.requirements.as_ref(),
            _ => None,
        }
    }
}

/// From the end of one pass to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    /// If nobody hints; and at the latest.
    pause: Duration,
    /// If somebody hints: the first hint after a while of silence is followed at once.
    hinted_pause: Duration,
}

impl Rest {
    /// `scan`: what the look at the directory took, `interval`: how often that is to be done.
    fn after(scan: Duration, interval: Duration, is_unsettled: bool) -> Rest {
        let share = (scan * LARGEST_SHARE).min(interval * LONGEST_PAUSES);
        let wanted = if is_unsettled {
            interval.min(SETTLE * 5)
        } else {
            interval
        };
        Rest {
            pause: wanted.max(share),
            hinted_pause: HINTED_PAUSE.max(share),
        }
    }
}

impl Syncer {
    /// With an empty memory.
    pub fn new(context: Context, interpreter: Option<Interpreter>, builder: Arc<Builder>) -> Syncer {
        Syncer {
            pause: context.config.scan_interval,
            scan: Duration::ZERO,
            pulse: context.node.pulse("syncer", LONGEST_PASS),
            context,
            interpreter,
            builder,
            holds_duty: false,
            known: HashMap::new(),
            registered: BTreeMap::new(),
            libraries: HashSet::new(),
            unseen: HashMap::new(),
            held: HashMap::new(),
            compared: HashMap::new(),
            reported: HashSet::new(),
            to_report: HashSet::new(),
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let _watcher = watch(&self.context.config.scripts_directory, self.context.wake.clone());
        loop {
            self.pulse.pass();
            let is_unsettled = match self.run_once().await {
                Ok(synced) => synced.unsettled,
                Err(error) => {
                    self.report(format!("{error:#}"));
                    false
                }
            };
            self.reported = std::mem::take(&mut self.to_report);
            let rest = Rest::after(self.scan, self.context.config.scan_interval, is_unsettled);
            self.pause = rest.pause;
            self.pulse.rest(rest.pause);
            tokio::select! {
                () = self.next_pass(rest) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Comes back when the next pass is worth it.
    async fn next_pass(&self, rest: Rest) {
        let ended = Instant::now();
        let hinted = async {
            self.context.wake.syncer_woken().await;
            let earliest = ended + rest.hinted_pause;
            tokio::time::sleep_until(earliest.max(Instant::now() + GATHER).into()).await;
        };
        tokio::select! {
            () = tokio::time::sleep(rest.pause) => {}
            () = hinted => {}
        }
    }

    /// One pass.
    pub async fn run_once(&mut self) -> anyhow::Result<Synced> {
        let mut connection = self.context.database.connection().await?;
        let hold = DUTY.max(self.pause * 2);
        let held = nodes::hold_duty(&mut connection, "syncer", self.context.node.id(), hold).await?;
        let result = if held {
            self.sync(&mut connection).await
        } else {
            self.compare(&mut connection).await
        };
        // After the pass: what it asks for is begun at once.
        let built = self.builder.run_once(&mut connection, held && result.is_ok()).await;
        let result = result.and_then(|synced| built.map(|()| synced));
        if result.is_err() {
            // What was written of it is not known: read everything again.
            self.holds_duty = false;
        }
        result
    }

    async fn sync(&mut self, connection: &mut Connection) -> anyhow::Result<Synced> {
        let first = !self.holds_duty;
        if first {
            self.known.clear();
            self.unseen.clear();
            self.held.clear();
            self.compared.clear();
            self.registered = by_name(tasks::registered(connection).await?);
            self.holds_duty = true;
        }
        let listing = self.list().await?;
        for (path, message) in &listing.refused {
            self.report(format!("`{}` is left out: {message}", path.display()));
        }
        let mut synced = Synced::default();
        let waiting = self.still_waiting(connection).await?;
        let candidates: Vec<Found> = listing
            .found
            .values()
            .filter(|found| self.known.get(found.name.as_str()) != Some(&found.fingerprint))
            .filter(|found| waiting.get(found.name.as_str()) != Some(&found.fingerprint))
            .cloned()
            .collect();
        let (settled, unsettled) = settle(&self.context.config.scripts_directory, candidates).await?;
        synced.unsettled = unsettled;
        for batch in settled.chunks(BATCH) {
            let changed = self.assess(connection, batch.to_vec()).await?;
            synced.unsettled |= changed.len() < batch.len();
            synced.registered += self.take(connection, changed, &listing.found).await?;
        }
        self.hold_refused(connection, &listing).await?;
        synced.retired = self.retire(connection, &listing).await?;
        if synced != Synced::default() {
            self.context.wake.plan();
        }
        if first {
            tracing::info!(task.count = self.registered.len(), "tasks are in line with their files");
        }
        Ok(synced)
    }

    /// Files that were held back, and would be again.
    async fn still_waiting(&self, connection: &mut Connection) -> anyhow::Result<HashMap<String, Fingerprint>> {
        if self.held.is_empty() {
            return Ok(HashMap::new());
        }
        let asked: Vec<ContentHash> = self.held.values().map(|(_, hash)| *hash).collect();
        let states = environments::states(connection, &asked)
            .await
            .context("the states of environments cannot be read")?;
        let waiting = self
            .held
            .iter()
            .filter(|(_, (_, hash))| states.get(hash).is_some_and(|state| !state.is_ready()));
        Ok(waiting
            .map(|(name, (fingerprint, _))| (name.clone(), *fingerprint))
            .collect())
    }

    async fn list(&mut self) -> anyhow::Result<scan::Listing> {
        let directory = self.context.config.scripts_directory.clone();
        let path = directory.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            (scan::list(&directory), begun.elapsed())
        });
        let (listing, took) = listed.await?;
        self.scan = took;
        listing.with_context(|| {
            format!(
                "the scripts directory `{}` cannot be read; tasks stay as they are",
                path.display()
            )
        })
    }

    /// What changed files are now. Those that changed again meanwhile are left for the next pass.
    async fn assess(&self, connection: &mut Connection, batch: Vec<Found>) -> anyhow::Result<Vec<Changed>> {
        let read = tokio::task::spawn_blocking(move || {
            batch
                .into_iter()
                .map(|found| (scan::read(&found), found))
                .collect::<Vec<_>>()
        })
        .await?;
        let hashes: Vec<ContentHash> = read
            .iter()
            .filter_map(|(content, _)| content.as_ref().ok()?.as_ref().map(|content| content.sha256))
            .collect();
        let mut inspections = tasks::inspections(connection, &hashes).await?;
        let python = self.interpreter.as_ref().map(|interpreter| interpreter.version.clone());
        // Another Python may see the same bytes differently.
        inspections
            .retain(|_, text| serde_json::from_str::<Inspection>(text).is_ok_and(|known| known.python == python));
        self.inspect(&read, &mut inspections).await?;
        let timezone = &self.context.config.timezone;
        Ok(read
            .into_iter()
            .filter_map(|(content, found)| match content {
                Ok(None) => None,
                Ok(Some(content)) => {
                    let inspection = inspections.get(&content.sha256).cloned();
                    let parsed = inspection.as_deref().and_then(|text| serde_json::from_str(text).ok());
                    let mut assessment = scan::assess(&found, &content, parsed.as_ref(), timezone);
                    if let Assessment::Task(task) = &mut assessment {
                        task.requirements = self.builder.needed(task.requirements.take());
                    }
                    Some(Changed {
                        found,
                        content: Some(content),
                        assessment,
                        inspection,
                    })
                }
                Err(message) => {
                    let assessment = Assessment::Problem(vec![FileProblem::whole_file(message)]);
                    Some(Changed {
                        found,
                        content: None,
                        assessment,
                        inspection: None,
                    })
                }
            })
            .collect())
    }

    /// Asks Python about contents that it has not seen.
    async fn inspect(
        &self,
        read: &[(Result<Option<Content>, String>, Found)],
        inspections: &mut HashMap<ContentHash, String>,
    ) -> anyhow::Result<()> {
        let Some(interpreter) = self.interpreter.clone() else {
            return Ok(());
        };
        let unknown: Vec<(ContentHash, Found)> = read
            .iter()
            .filter_map(|(content, found)| Some((content.as_ref().ok()?.as_ref()?.sha256, found)))
            .filter(|(sha256, found)| found.kind == ScriptKind::Source && !inspections.contains_key(sha256))
            .map(|(sha256, found)| (sha256, found.clone()))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let answers = tokio::task::spawn_blocking(move || {
            let founds: Vec<&Found> = unknown.iter().map(|(_, found)| found).collect();
            scan::inspect(&interpreter, &founds).map(|answers| {
                unknown
                    .iter()
                    .map(|(sha256, _)| *sha256)
                    .zip(answers)
                    .collect::<Vec<_>>()
            })
        })
        .await?
        .map_err(anyhow::Error::msg)?;
        for (sha256, inspection) in answers {
            inspections.insert(
                sha256,
                serde_json::to_string(&inspection).context("an inspection is not JSON")?,
            );
        }
        Ok(())
    }

    /// Writes what changed files ask for.
    async fn take(
        &mut self,
        connection: &mut Connection,
        changed: Vec<Changed>,
        found: &BTreeMap<String, Found>,
    ) -> anyhow::Result<usize> {
        self.rename(connection, &changed, found).await?;
        let unready = self.ask_for_packages(connection, &changed).await?;
        let mut registrations = Vec::new();
        let mut held: Vec<(i64, Option<ContentHash>)> = Vec::new();
        let mut versions = Vec::new();
        let mut problems: Vec<(i64, String)> = Vec::new();
        let mut unreadable = Vec::new();
        for change in &changed {
            let known = self.registered.get(change.found.name.as_str());
            match (&change.assessment, known) {
                (Assessment::Library, _) => {}
                // There is nothing that a task could be made of.
                (Assessment::Problem(list), None) if change.content.is_none() => {
                    unreadable.push(problem_text(&change.found, list));
                }
                (Assessment::Problem(list), Some(known)) => {
                    let text = problem_text(&change.found, list);
                    if known.problem.as_deref() != Some(&text) {
                        problems.push((known.task_id, text));
                    }
                }
                (assessment, known) => {
                    let Some(registration) = self.registration(change, assessment) else {
                        continue;
                    };
                    let asks_for = registration.requirements_sha256.filter(|hash| unready.contains(hash));
                    // A task that never had its packages loses nothing by having the newer code.
                    if let (Some(known), Some(hash)) = (known, asks_for)
                        && known.requirements_sha256.is_none_or(|had| had != hash)
                    {
                        held.push((known.task_id, Some(hash)));
                        continue;
                    }
                    if known.is_none_or(|known| differs(known, &registration)) {
                        if let Some(content) = &change.content {
                            versions.push(Version {
                                sha256: content.sha256,
                                content: content.bytes.clone(),
                                inspection: change.inspection.clone(),
                            });
                        }
                        registrations.push(registration);
                    }
                }
            }
        }
        for text in unreadable {
            self.report(format!("a script is left out: {text}"));
        }
        for (_, text) in &problems {
            tracing::warn!(problem = %text, "a script has a problem; its last good version stays in force");
        }
        self.write(connection, &registrations, &versions, &problems).await?;
        self.hold(connection, &held).await?;
        for change in &changed {
            let name = change.found.name.as_str();
            let known = self.registered.get(name);
            let next = known.and_then(|known| known.next_requirements_sha256);
            if let (Assessment::Task(_), Some(hash)) = (&change.assessment, next) {
                self.held.insert(name.to_owned(), (change.found.fingerprint, hash));
                continue;
            }
            self.held.remove(name);
            if change.content.is_some() {
                self.known.insert(name.to_owned(), change.found.fingerprint);
            } else {
                // Permission to read it changes nothing that a fingerprint shows: look again.
                self.known.remove(name);
            }
            // Without Python nobody knows for sure, and a task is not retired on a guess.
            let is_certain = change.inspection.is_some() || change.found.kind != ScriptKind::Source;
            if is_certain && matches!(change.assessment, Assessment::Library) {
                self.libraries.insert(name.to_owned());
            } else {
                self.libraries.remove(name);
            }
        }
        Ok(registrations.len() + problems.len())
    }

    /// Makes sure that somebody sees to what files ask for; which of it is not ready.
    async fn ask_for_packages(
        &self,
        connection: &mut Connection,
        changed: &[Changed],
    ) -> anyhow::Result<HashSet<ContentHash>> {
        let asked: Vec<(ContentHash, String)> = changed
            .iter()
            .filter_map(Changed::requirements)
            .map(|requirements| (requirements.sha256(), requirements.to_json()))
            .collect();
        if asked.is_empty() {
            return Ok(HashSet::new());
        }
        environments::ask(connection, &asked)
            .await
            .context("packages cannot be asked for")?;
        let hashes: Vec<ContentHash> = asked.iter().map(|(hash, _)| *hash).collect();
        let states = environments::states(connection, &hashes)
            .await
            .context("the states of environments cannot be read")?;
        // Whoever touches a file wants what it asks for now.
        hashes.iter().for_each(|hash| self.builder.try_again(*hash));
        Ok(hashes
            .into_iter()
            .filter(|hash| states.get(hash).is_none_or(|state| !state.is_ready()))
            .collect())
    }

    /// Writes which tasks wait for packages, and which do not any more although their version stays as it is.
    async fn hold(&mut self, connection: &mut Connection, held: &[(i64, Option<ContentHash>)]) -> anyhow::Result<()> {
        if held.is_empty() {
            return Ok(());
        }
        environments::hold(connection, held)
            .await
            .context("tasks that wait for packages cannot be written")?;
        for known in self.registered.values_mut() {
            if let Some((_, hash)) = held.iter().find(|(task_id, _)| *task_id == known.task_id) {
                known.next_requirements_sha256 = *hash;
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        connection: &mut Connection,
        registrations: &[Registration],
        versions: &[Version],
        problems: &[(i64, String)],
    ) -> anyhow::Result<()> {
        for batch in batches_by_bytes(versions) {
            tasks::store_versions(connection, batch)
                .await
                .context("script versions cannot be stored")?;
        }
        if !registrations.is_empty() {
            for named in tasks::register(connection, registrations, "syncer")
                .await
                .context("tasks cannot be registered")?
            {
                let Some(registration) = registrations
                    .iter()
                    .find(|registration| registration.name == named.name)
                else {
                    continue;
                };
                report_registered(registration, self.registered.contains_key(&named.name));
                self.registered
                    .insert(named.name.clone(), registered_as(named.task_id, registration));
            }
        }
        if !problems.is_empty() {
            let (task_ids, texts): (Vec<i64>, Vec<String>) = problems.iter().cloned().unzip();
            tasks::set_problems(connection, &task_ids, &texts)
                .await
                .context("problems cannot be stored")?;
            for known in self.registered.values_mut() {
                if let Some((_, text)) = problems.iter().find(|(task_id, _)| *task_id == known.task_id) {
                    known.problem = Some(text.clone());
                }
            }
        }
        Ok(())
    }

    /// A file that is gone and one that is new with the same content: the same task under another name.
    async fn rename(
        &mut self,
        connection: &mut Connection,
        changed: &[Changed],
        found: &BTreeMap<String, Found>,
    ) -> anyhow::Result<()> {
        for change in changed {
            let name = change.found.name.as_str();
            let (Some(content), false) = (&change.content, self.registered.contains_key(name)) else {
                continue;
            };
            let gone: Vec<&Registered> = self
                .registered
                .values()
                .filter(|known| known.script_sha256 == content.sha256 && !found.contains_key(&known.name))
                .collect();
            // Several equal files that went at once: nobody can tell which became which.
            let [known] = gone.as_slice() else { continue };
            let mut known = (*known).clone();
            let script_path = change.found.relative.to_string_lossy().into_owned();
            tasks::rename(connection, known.task_id, name, &script_path)
                .await
                .context("a task cannot be renamed")?;
            tracing::info!(
                task.name = name,
                task.was = known.name,
                "a task was renamed with its file"
            );
            self.registered.remove(&known.name);
            self.known.remove(&known.name);
            self.unseen.remove(&known.task_id);
            known.name = name.to_owned();
            known.script_path = script_path;
            self.registered.insert(known.name.clone(), known);
        }
        Ok(())
    }

    /// A file that cannot be looked at, for example in a directory that cannot be read, is not gone: its task stays, with that
    /// as its problem.
    async fn hold_refused(&mut self, connection: &mut Connection, listing: &scan::Listing) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        for known in self.registered.values() {
            let Some(message) = self.refusal(listing, known) else {
                continue;
            };
            // Once it can be looked at, it is looked at anew.
            self.known.remove(&known.name);
            let text = format!("{}: {message}", known.script_path);
            if known.problem.as_deref() != Some(&text) {
                problems.push((known.task_id, text));
            }
        }
        self.write(connection, &[], &[], &problems).await
    }

    fn refusal<'a>(&self, listing: &'a scan::Listing, known: &Registered) -> Option<&'a str> {
        if listing.found.contains_key(&known.name) {
            return None;
        }
        let path = self.context.config.scripts_directory.join(&known.script_path);
        let mut refused = listing.refused.iter();
        refused
            .find(|(refused, _)| path.starts_with(refused))
            .map(|(_, message)| message.as_str())
    }

    async fn retire(&mut self, connection: &mut Connection, listing: &scan::Listing) -> anyhow::Result<usize> {
        let mut unseen = HashMap::new();
        for known in self.registered.values() {
            let is_gone = !listing.found.contains_key(&known.name) && self.refusal(listing, known).is_none();
            // A file that has neither header nor `run` any more is a library, and no task.
            if is_gone || self.libraries.contains(&known.name) {
                unseen.insert(known.task_id, self.unseen.get(&known.task_id).copied().unwrap_or(0) + 1);
            }
        }
        let retired: Vec<i64> = unseen
            .iter()
            .filter(|(_, scans)| **scans >= SCANS_UNTIL_RETIRED)
            .map(|(task_id, _)| *task_id)
            .collect();
        self.unseen = unseen;
        if !retired.is_empty() {
            tasks::retire(connection, &retired)
                .await
                .context("tasks cannot be retired")?;
            for (name, _) in self
                .registered
                .extract_if(.., |_, known| retired.contains(&known.task_id))
            {
                tracing::info!(task.name = name, "a task was retired: its file is gone");
                self.known.remove(&name);
            }
            self.unseen.retain(|task_id, _| !retired.contains(task_id));
        }
        Ok(retired.len())
    }

    fn registration(&self, change: &Changed, assessment: &Assessment) -> Option<Registration> {
        let content = change.content.as_ref()?;
        let config = &self.context.config;
        let notify = &self.context.channels.default;
        Some(match assessment {
            Assessment::Task(task) => registration(
                config,
                notify,
                &change.found,
                content,
                &task.header,
                task.is_async,
                task.summary.clone(),
                task.requirements.as_ref(),
                None,
            ),
            Assessment::Problem(list) => {
                // Never seen without its problem: it is shown, and nothing of it runs by itself.
                let problem = Some(problem_text(&change.found, list));
                registration(
                    config,
                    notify,
                    &change.found,
                    content,
                    &Header::default(),
                    false,
                    None,
                    None,
                    problem,
                )
            }
            Assessment::Library => return None,
        })
    }

    /// Another node reads its directory into the database: say where ours differs.
    async fn compare(&mut self, connection: &mut Connection) -> anyhow::Result<Synced> {
        self.holds_duty = false;
        let listing = self.list().await?;
        let registered = by_name(tasks::registered(connection).await?);
        self.look_at(listing.found.values()).await?;
        // A deployment reaches one machine after the other.
        let fresh = now_seconds() - FRESH.as_secs() as i64 - self.context.config.scan_interval.as_secs() as i64 * 2;
        for found in listing.found.values() {
            let Some(ours) = self.compared.get(found.name.as_str()).copied() else {
                continue;
            };
            if found.fingerprint.modified_seconds() >= fresh {
                continue;
            }
            let path = found.path.display();
            match registered.get(found.name.as_str()) {
                Some(known) if known.script_sha256 != ours.sha256 && known.problem.is_none() => self.report(format!(
                    "`{path}` differs from what the node that reads the scripts has registered; runs use the registered version"
                )),
                None if ours.is_task => self.report(format!(
                    "`{path}` is not among the scripts of the node that reads them, and does not run; put it there too"
                )),
                _ => {}
            }
        }
        self.report_missing(&registered, &listing);
        Ok(Synced::default())
    }

    /// Reads those files that are not as they were.
    async fn look_at(&mut self, found: impl Iterator<Item = &Found>) -> anyhow::Result<()> {
        let timezone = self.context.config.timezone.clone();
        for found in found {
            let name = found.name.as_str();
            if (self.compared.get(name)).is_some_and(|known| known.fingerprint == found.fingerprint) {
                continue;
            }
            self.compared.remove(name);
            let content = {
                let found = found.clone();
                tokio::task::spawn_blocking(move || scan::read(&found)).await?
            };
            if let Ok(Some(content)) = content {
                let compared = Compared {
                    fingerprint: found.fingerprint,
                    sha256: content.sha256,
                    is_task: matches!(scan::assess(found, &content, None, &timezone), Assessment::Task(_)),
                };
                self.compared.insert(name.to_owned(), compared);
            }
        }
        Ok(())
    }

    /// Tasks without a file here, once two looks have not seen it.
    fn report_missing(&mut self, registered: &BTreeMap<String, Registered>, listing: &scan::Listing) {
        let missing = registered
            .values()
            .filter(|known| !listing.found.contains_key(&known.name));
        let unseen: HashMap<i64, u32> = missing
            .map(|known| {
                let before = self.unseen.get(&known.task_id).copied().unwrap_or(0);
                (known.task_id, before + 1)
            })
            .collect();
        self.unseen = unseen;
        let names: Vec<&str> = registered
            .values()
            .filter(|known| {
                self.unseen
                    .get(&known.task_id)
                    .is_some_and(|scans| *scans >= SCANS_UNTIL_RETIRED)
            })
            .map(|known| known.name.as_str())
            .collect();
        if let Some(first) = names.first() {
            self.report(format!(
                "{} registered tasks have no file here, for example `{first}`: they run here all the same, without modules beside them",
                names.len()
            ));
        }
    }

    /// Says something once, and again when it has not been so in between.
    fn report(&mut self, message: String) {
        let is_new = !self.reported.contains(&message);
        if self.to_report.insert(message.clone()) && is_new {
            tracing::warn!("{message}");
        }
    }
}

/// What a file asks for, with the defaults of the configuration and of the file of channels.
#[expect(clippy::too_many_arguments, reason = "a registration is all of these")]
pub fn registration(
    config: &Config,
    notify: &Notify,
    found: &Found,
    content: &Content,
    header: &Header,
    is_async: bool,
    summary: Option<String>,
    requirements: Option<&Requirements>,
    problem: Option<String>,
) -> Registration {
    let mut header = header.clone();
    if header.description.is_none() {
        header.description = summary;
    }
    Registration {
        name: found.name.as_str().to_owned(),
        source: "directory",
        script_path: found.relative.to_string_lossy().into_owned(),
        script_kind: match found.kind {
            ScriptKind::Source => "source",
            ScriptKind::Bytecode => "bytecode",
            ScriptKind::Extension => "extension",
        },
        script_sha256: content.sha256,
        is_async,
        timezone: header.timezone.clone().unwrap_or_else(|| config.timezone.clone()),
        timeout_seconds: match header.timeout {
            None => config.default_timeout,
            Some(Timeout::Never) => None,
            Some(Timeout::After(limit)) => Some(limit),
        }
        .map(|limit| limit.as_secs_f64()),
        notify: header.notify.clone().or(notify),
        requires_python: requirements
            .and_then(|requirements| requirements.requires_python.clone())
            .or(header.requires_python.clone()),
        requirements_sha256: requirements.map(Requirements::sha256),
        header,
        problem,
    }
}

fn differs(known: &Registered, wanted: &Registration) -> bool {
    known.script_sha256 != wanted.script_sha256
        || known.problem != wanted.problem
        || known.timezone != wanted.timezone
        || known.timeout_seconds != wanted.timeout_seconds
        || known.notify_after != wanted.notify_after()
        || known.notify_recovery != wanted.notify_recovery()
        || known.notify_to != wanted.notify_to()
        || known.late_after_seconds != wanted.late_after_seconds()
        || known.script_path != wanted.script_path
        || known.requires_python != wanted.requires_python
        || known.requirements_sha256 != wanted.requirements_sha256
        // What it waited for is not wanted any more, or is there.
        || known.next_requirements_sha256.is_some()
        || serde_json::from_str::<serde_json::Value>(&known.header).ok() != serde_json::to_value(&wanted.header).ok()
}

fn registered_as(task_id: i64, registration: &Registration) -> Registered {
    Registered {
        task_id,
        name: registration.name.clone(),
        script_path: registration.script_path.clone(),
        script_sha256: registration.script_sha256,
        problem: registration.problem.clone(),
        header: serde_json::json!(registration.header).to_string(),
        timezone: registration.timezone.clone(),
        timeout_seconds: registration.timeout_seconds,
        notify_after: registration.notify_after(),
        notify_recovery: registration.notify_recovery(),
        notify_to: registration.notify_to().to_vec(),
        late_after_seconds: registration.late_after_seconds(),
        requires_python: registration.requires_python.clone(),
        requirements_sha256: registration.requirements_sha256,
        next_requirements_sha256: None,
    }
}

fn report_registered(registration: &Registration, known: bool) {
    let verb = if known { "changed" } else { "registered" };
    match &registration.problem {
        Some(problem) => {
            tracing::warn!(task.name = registration.name, %problem, "a script has a problem and cannot run yet")
        }
        None => {
            tracing::info!(task.name = registration.name, schedule = ?registration.header.schedule, "a task was {verb}")
        }
    }
}

fn problem_text(found: &Found, problems: &[FileProblem]) -> String {
    problems
        .iter()
        .map(|problem| problem.in_file(&found.relative))
        .collect::<Vec<_>>()
        .join("\n")
}

fn by_name(registered: Vec<Registered>) -> BTreeMap<String, Registered> {
    registered
        .into_iter()
        .map(|known| (known.name.clone(), known))
        .collect()
}

/// Those that are as they were a moment ago, and whether there are others.
async fn settle(root: &Path, candidates: Vec<Found>) -> anyhow::Result<(Vec<Found>, bool)> {
    let fresh_since = now_seconds() - FRESH.as_secs() as i64;
    if candidates
        .iter()
        .all(|found| found.fingerprint.modified_seconds() < fresh_since)
    {
        return Ok((candidates, false));
    }
    tokio::time::sleep(SETTLE).await;
    let root: PathBuf = root.to_path_buf();
    let now = tokio::task::spawn_blocking(move || scan::list(&root)).await??;
    let total = candidates.len();
    let settled: Vec<Found> = candidates
        .into_iter()
        .filter(|found| {
            now.found
                .get(found.name.as_str())
                .is_some_and(|now| now.fingerprint == found.fingerprint)
        })
        .collect();
    let unsettled = settled.len() < total;
    Ok((settled, unsettled))
}

fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Runs of contents that fit into one statement.
fn batches_by_bytes(versions: &[Version]) -> Vec<&[Version]> {
    let mut batches = Vec::new();
    let mut from = 0;
    let mut bytes = 0;
    for (at, version) in versions.iter().enumerate() {
        if bytes > 0 && bytes + version.content.len() > BATCH_BYTES {
            batches.push(&versions[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += version.content.len();
    }
    if from < versions.len() {
        batches.push(&versions[from..]);
    }
    batches
}

/// Hints of the file system; without them the periodic scan sees all the same.
fn watch(directory: &Path, wake: Arc<Wake>) -> Option<notify::RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            wake.syncer();
        }
    };
    let mut watcher = notify::recommended_watcher(handler).ok()?;
    match watcher.watch(directory, RecursiveMode::Recursive) {
        Ok(()) => Some(watcher),
        Err(error) => {
            tracing::info!(%error, "the file system gives no hints of changes; the periodic scan sees them");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[test]
    fn a_large_directory_is_looked_at_less_often_and_hints_do_not_change_that() {
        let rest = Rest::after(Duration::from_millis(200), INTERVAL, false);
        assert_eq!(rest.pause, Duration::from_secs(10));
        assert_eq!(rest.hinted_pause, Duration::from_secs(10));
    }

    #[test]
    fn no_scan_is_so_slow_that_nobody_looks_for_minutes() {
        let rest = Rest::after(Duration::from_secs(60), INTERVAL, false);
        assert_eq!((rest.pause, rest.hinted_pause), (INTERVAL * 5, INTERVAL * 5));
    }

    #[test]
    fn a_quick_scan_leaves_the_interval_as_it_is() {
        let scan = Duration::from_millis(1);
        assert_eq!(Rest::after(scan, INTERVAL, false).pause, INTERVAL);
        assert_eq!(Rest::after(scan, INTERVAL, true).pause, SETTLE * 5);
        assert_eq!(Rest::after(scan, INTERVAL, true).hinted_pause, HINTED_PAUSE);
    }
}
