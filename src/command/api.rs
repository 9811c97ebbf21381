//! The API beside the loops of `dropcron serve`: where it listens, what it is given, and the first token.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{hindered, usage};
use crate::api::{
    self, Api, Assessed, Check, Draft, Given, InstalledEnvironment, LockedPackage, ScriptFile, ScriptProblem, Standing,
    secret,
};
use crate::config::{Config, Listen};
use crate::database::Database;
use crate::executor::{InspectRequest, Inspection, Interpreter};
use crate::packages::{Environment, Package, packages_of};
use crate::script::{ContentHash, ScriptKind, TaskName};
use crate::service::builder::Builder;
use crate::service::node::Node;
use crate::service::run_directory::RunDirectory;
use crate::service::scan::{self, Assessment, Content, FileProblem, Found};
use crate::service::syncer::registration;
use crate::service::worker::Context;
use crate::store::tokens;

/// Connections to the database that the API takes: enough for a few people and their dashboards, and none of the scheduler's.
const CONNECTIONS: usize = 4;

/// Names of tokens that nobody typed.
const FIRST_TOKEN: &str = "first start";
const FILE_TOKEN: &str = "token file";

/// The file in the data directory that holds the first token.
const TOKEN_FILE: &str = "token";

/// Takes the address. A busy one is an error where somebody chose it; else the service goes on without the page.
pub(super) fn bind(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(Listen { address, is_configured }) = config.listen else {
        return Ok(None);
    };
    if let Some(path) = &config.token_file {
        read_token_file(path)?;
    }
    match TcpListener::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_configured => Err(hindered(format!(
            "`DROPCRON_LISTEN` is `{address}`, which cannot be had: {error}; free it, choose another address or port, or `none`"
        ))),
        Err(error) => {
            tracing::warn!(
                %error,
                "the API and the page are not served, since {address} cannot be had; `DROPCRON_LISTEN` chooses another address"
            );
            Ok(None)
        }
    }
}

/// How the loops, the node and the database are, as far as this process knows without asking.
fn checks(node: &Node) -> Vec<Check> {
    let health = node.health();
    let stalled = health.stalled_loops();
    let database = match health.is_in_contact {
        true => "it answered the last heartbeat",
        false => "it did not answer the last heartbeat; the log says why",
    };
    let lease = match (node.is_draining(), node.may_start()) {
        (true, _) => (false, "this node leaves, and starts nothing new"),
        (false, true) => (true, "this node may start scripts"),
        (false, false) => (
            false,
            "this node has lost contact with the database, and starts nothing",
        ),
    };
    vec![
        Check {
            name: "loops".to_owned(),
            ok: stalled.is_empty(),
            detail: if stalled.is_empty() {
                "all of them go round".to_owned()
            } else {
                format!("these have ended or hang: {}", stalled.join(", "))
            },
        },
        Check {
            name: "lease".to_owned(),
            ok: lease.0,
            detail: lease.1.to_owned(),
        },
        Check {
            name: "database".to_owned(),
            ok: health.is_in_contact,
            detail: database.to_owned(),
        },
    ]
}

/// Starts the API; it ends when it is told to stop.
pub(super) async fn start(
    listener: TcpListener,
    context: &Context,
    interpreter: Option<Interpreter>,
    builder: Arc<Builder>,
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let address = listener.local_addr().context("the API has no address")?;
    listener
        .set_nonblocking(true)
        .context("the API cannot wait for connections")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("the API cannot wait for connections")?;
    prepare_tokens(&context.config, &context.database, address).await?;
    let api = Api::new(
        context.database.apart(CONNECTIONS),
        given(context, interpreter, builder),
    );
    tracing::info!("the API and the page are at http://{}/", reachable(address));
    Ok(tokio::spawn(api::serve(listener, api, stop)))
}

/// An address that can be typed: whoever listens everywhere is reached at this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Puts the token of the file in force; where there has never been one, makes the first.
async fn prepare_tokens(config: &Config, database: &Database, address: SocketAddr) -> anyhow::Result<()> {
    let mut connection = database.connection().await?;
    let by = super::actor();
    if let Some(path) = &config.token_file {
        let token = read_token_file(path)?;
        if tokens::take_from_file(&mut connection, FILE_TOKEN, &secret::hash(&token), &by)
            .await?
            .is_some()
        {
            tracing::info!(file = %path.display(), "the token of the file is in force");
        }
        return Ok(());
    }
    let known = tokens::list(&mut connection).await?;
    if !known.is_empty() {
        if known.iter().all(|row| row.revoked_at.is_some()) {
            tracing::warn!(
                "no token is in force: nobody can log in until `dropcron token create NAME --role admin` makes one"
            );
        }
        return Ok(());
    }
    let token = secret::new_token().context("the kernel gives no randomness for a token")?;
    let path = config.data_directory.join(TOKEN_FILE);
    let beside = path.with_extension("tmp");
    // A token that is in force and stands nowhere would lock everybody out.
    write_private(&beside, &token).with_context(|| format!("cannot keep the first token as `{}`", path.display()))?;
    if tokens::create_first(&mut connection, FIRST_TOKEN, &secret::hash(&token), &by)
        .await?
        .is_none()
    {
        // Another node was first.
        let _ = std::fs::remove_file(&beside);
        return Ok(());
    }
    std::fs::rename(&beside, &path)
        .with_context(|| format!("the first token stays in `{}`: it cannot be renamed", beside.display()))?;
    let (address, path) = (reachable(address), path.display());
    if super::service_manager::keeps_what_is_said() {
        tracing::info!("log in at http://{address}/ with the token in `{path}`");
    } else {
        tracing::info!(
            "log in once with this link: http://{address}/login#token={token} (the token is in `{path}`, and is not shown again)"
        );
    }
    Ok(())
}

/// A file that only its owner reads, from its first byte on.
fn write_private(path: &Path, token: &str) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()
}

/// The token in a file, without the line's end.
pub(super) fn read_token_file(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| hindered(format!("the token file `{shown}` cannot be read: {error}")))?;
    let token = text.trim();
    let is_plain = token.chars().all(|character| character.is_ascii_graphic());
    if !is_plain || token.len() < secret::SHORTEST || token.len() > secret::LONGEST {
        return Err(usage(format!(
            "the token file `{shown}` must hold one token of {} to {} plain characters without spaces; `openssl rand -hex 32` makes one",
            secret::SHORTEST,
            secret::LONGEST
        )));
    }
    Ok(token.to_owned())
}

fn given(context: &Context, interpreter: Option<Interpreter>, builder: Arc<Builder>) -> Given {
    let config = context.config.clone();
    let (node, wake) = (context.node.clone(), context.wake.clone());
    let list_root = config.scripts_directory.clone();
    let environments = builder.environments().clone();
    let drafts = Drafts {
        context: context.clone(),
        interpreter,
        builder,
    };
    Given {
        health: Box::new(move || checks(&node)),
        list_scripts: Arc::new(move || list(&list_root)),
        assess_drafts: Arc::new(move |wanted| drafts.assess(wanted)),
        list_environments: Arc::new(move || environments.list().into_iter().map(installed).collect()),
        read_lock: Box::new(locked),
        scripts_changed: Box::new(move || wake.syncer()),
        scripts_directory: config.scripts_directory.clone(),
        timezone: config.timezone.clone(),
        hosts: config.hosts.clone(),
        base_path: context.config.base_path.clone(),
    }
}

fn installed(environment: Environment) -> InstalledEnvironment {
    InstalledEnvironment {
        lock_sha256: environment.lock_sha256,
        python: environment.python,
        size_bytes: environment.size_bytes,
        own_bytes: environment.own_bytes,
        created_at: environment.created_at,
        used_at: environment.used_at,
        in_use: environment.in_use,
    }
}

fn locked(content: &str) -> Vec<LockedPackage> {
    let package = |package: Package| LockedPackage {
        name: package.name,
        version: package.version,
        marker: package.marker,
    };
    packages_of(content).into_iter().map(package).collect()
}

/// The scripts directory as the syncer sees it.
fn list(root: &Path) -> std::io::Result<Vec<ScriptFile>> {
    let listing = scan::list(root)?;
    let found = listing.found.into_values().map(|found| ScriptFile {
        task: Some(found.name.as_str().to_owned()),
        kind: Some(found.kind),
        size: found.fingerprint.size(),
        modified_at: Timestamp::from_second(found.fingerprint.modified_seconds()).ok(),
        refused: None,
        path: found.relative,
    });
    let refused = listing.refused.into_iter().map(|(path, why)| {
        let metadata = std::fs::metadata(&path).ok();
        ScriptFile {
            task: None,
            kind: ScriptKind::of(&path),
            size: metadata.map_or(0, |metadata| metadata.len()),
            modified_at: None,
            refused: Some(why),
            path: path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path),
        }
    });
    let mut files: Vec<ScriptFile> = found.chain(refused).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// What is needed to say what a text would be as a script.
struct Drafts {
    context: Context,
    interpreter: Option<Interpreter>,
    builder: Arc<Builder>,
}

impl Drafts {
    /// Says of each what the syncer would say of it.
    fn assess(&self, drafts: Vec<Draft>) -> Result<Vec<Assessed>, String> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let Some(interpreter) = &self.interpreter else {
            return Err("no interpreter was found at the start; the log says why".to_owned());
        };
        let directory =
            RunDirectory::make_for_drafts(&self.context.config.data_directory).map_err(|error| error.to_string())?;
        let mut requests = Vec::with_capacity(drafts.len());
        for (number, draft) in drafts.iter().enumerate() {
            let code = directory.path().join(format!("{number}.py"));
            std::fs::write(&code, &draft.content).map_err(|error| error.to_string())?;
            requests.push(InspectRequest {
                path: draft.path.clone(),
                code,
            });
        }
        let inspections = interpreter.inspect(&requests).map_err(|error| error.to_string())?;
        let assessed = drafts.into_iter().zip(inspections);
        Ok(assessed
            .map(|(draft, inspection)| self.assess_one(draft, &inspection))
            .collect())
    }

    fn assess_one(&self, draft: Draft, inspection: &Inspection) -> Assessed {
        let problem = |problems: Vec<ScriptProblem>| Assessed {
            standing: Standing::Problem,
            problems,
            header: None,
            registration: None,
            requirements: None,
            inspection: None,
        };
        let whole = |message: String| ScriptProblem {
            line: None,
            column: None,
            message,
        };
        let name = match TaskName::from_path(&draft.path) {
            // A name that begins with `_` makes no task: others import it.
            Ok(None) => return self.library(inspection),
            Ok(Some(name)) => name,
            Err(error) => return problem(vec![whole(error.to_string())]),
        };
        let config = &self.context.config;
        let size = draft.content.len() as u64;
        let found = Found::draft(&config.scripts_directory, name, draft.path, size);
        let content = Content {
            sha256: ContentHash::of(&draft.content),
            bytes: draft.content,
            sidecar: None,
        };
        match scan::assess(&found, &content, Some(inspection), &config.timezone) {
            Assessment::Library => self.library(inspection),
            Assessment::Problem(problems) => problem(problems.into_iter().map(script_problem).collect()),
            Assessment::Task(task) => {
                let requirements = self.builder.needed(task.requirements);
                Assessed {
                    standing: Standing::Task,
                    problems: Vec::new(),
                    requirements: requirements.as_ref().map(|wanted| (wanted.sha256(), wanted.to_json())),
                    registration: Some(registration(
                        config,
                        &self.context.channels.default,
                        &found,
                        &content,
                        &task.header,
                        task.is_async,
                        task.summary,
                        requirements.as_ref(),
                        None,
                    )),
                    header: Some(task.header),
                    inspection: serde_json::to_string(inspection).ok(),
                }
            }
        }
    }

    /// A file that others import is one unless Python cannot read it.
    fn library(&self, inspection: &Inspection) -> Assessed {
        let problems: Vec<ScriptProblem> = inspection
            .problem
            .iter()
            .map(|problem| ScriptProblem {
                line: problem.line,
                column: problem.column,
                message: problem.message.clone(),
            })
            .collect();
        Assessed {
            standing: if problems.is_empty() {
                Standing::Library
            } else {
                Standing::Problem
            },
            problems,
            header: None,
            registration: None,
            requirements: None,
            inspection: None,
        }
    }
}

fn script_problem(problem: FileProblem) -> ScriptProblem {
    ScriptProblem {
        line: problem.place.map(|(line, _)| line),
        column: problem.place.map(|(_, column)| column),
        message: problem.message,
    }
}
