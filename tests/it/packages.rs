//! Third-party packages: resolved once, locked, built, shared, kept, and what happens when any of that fails.
//!
//! Packages are wheels and source packages made by the tests; uv is the real one. Without uv each test says that it was skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Serve, World, skip, text_of, wait_until};

/// A world whose packages come from a directory, and from nowhere else.
struct Shelf {
    world: World,
    uv: PathBuf,
    packages: PathBuf,
    /// An index without packages, instead of the public one.
    index: String,
}

/// Makes a wheel: a directory's content, zipped, with the files that say what it is.
const WHEEL: &str = r#"
import base64, hashlib, sys, zipfile
directory, name, version, tag, body, requires = sys.argv[1:7]
info = f"{name}-{version}.dist-info"
metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
metadata += "".join(f"Requires-Dist: {each}\n" for each in requires.split(";") if each)
files = {
    f"{name}/__init__.py": body,
    f"{info}/METADATA": metadata,
    f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
}
record = ""
with zipfile.ZipFile(f"{directory}/{name}-{version}-{tag}.whl", "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
"#;

/// Makes a source package whose build runs `code` first.
const SOURCE: &str = r#"
import io, sys, tarfile
directory, name, version, code = sys.argv[1:5]
backend = f'''
import base64, hashlib, zipfile
def get_requires_for_build_wheel(config=None):
    return []
def build_wheel(directory, config=None, metadata=None):
{code}
    info = "{name}-{version}.dist-info"
    with zipfile.ZipFile(directory + "/{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("{name}/__init__.py", "VERSION = '{version}'")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return "{name}-{version}-py3-none-any.whl"
'''
files = {
    "backend.py": backend,
    "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
}
with tarfile.open(f"{directory}/{name}-{version}.tar.gz", "w:gz") as archive:
    for path, text in files.items():
        entry = tarfile.TarInfo(f"{name}-{version}/{path}")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
"#;

impl Shelf {
    /// None, with a word about it, where there is no uv.
    fn new() -> Option<Shelf> {
        let Some(uv) = crate::support::uv() else {
            skip("there is no uv; `make test` gets it where it can");
            return None;
        };
        let world = World::new();
        let packages = world.root.join("shelf");
        fs::create_dir_all(packages.join("index")).unwrap();
        let index = format!("file://{}", packages.join("index").display());
        Some(Shelf {
            world,
            uv,
            packages,
            index,
        })
    }

    fn make(&self, program: &str, arguments: &[&str]) {
        let made = Command::new("python3")
            .args(["-c", program, self.packages.to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text_of(&made));
    }

    /// Puts a wheel of any platform on the shelf.
    fn wheel(&self, name: &str, version: &str) {
        self.wheel_with(name, version, "py3-none-any", "");
    }

    fn wheel_with(&self, name: &str, version: &str, tag: &str, requires: &str) {
        let body = format!("VERSION = '{version}'\n");
        self.make(WHEEL, &[name, version, tag, &body, requires]);
    }

    /// Puts a package on the shelf that runs these lines when it is built.
    fn source(&self, name: &str, version: &str, lines: &str) {
        let code: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        self.make(SOURCE, &[name, version, &code]);
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        vec![
            ("DROPCRON_UV", self.uv.to_str().unwrap()),
            ("UV_DEFAULT_INDEX", &self.index),
            ("UV_FIND_LINKS", self.packages.to_str().unwrap()),
        ]
    }

    fn serve(&self) -> Serve {
        self.serve_with(&[])
    }

    fn serve_with(&self, more: &[(&str, &str)]) -> Serve {
        let mut variables = self.variables();
        variables.extend(more);
        self.world.serve_with(&self.world.data, &variables)
    }

    /// A command of this shelf.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.envs(self.variables());
        command
    }

    /// A script that asks for packages, and returns the version of `name`.
    fn script(&self, file: &str, dependencies: &str, header: &str, name: &str) -> PathBuf {
        self.world.script(file, &asking(dependencies, header, name))
    }

    /// Waits until a run of a task returned this version.
    fn wait_for_version(&self, task: &str, version: &str) {
        self.world.wait_for(&format!(
            "select count(*) > 0 from run_log where task_name = '{task}' and return_value = '\"{version}\"'"
        ));
    }

    fn wait_for_state(&self, task: &str, state: &str) {
        self.world.wait_for(&format!(
            "select count(*) > 0 from task t join environment e \
                on e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256) \
              where t.name = '{task}' and e.state = '{state}'"
        ));
    }

    fn problem(&self, task: &str) -> String {
        self.world.value(&format!(
            "select e.problem from task t join environment e \
                on e.requirements_sha256 = coalesce(t.next_requirements_sha256, t.requirements_sha256) where t.name = '{task}'"
        ))
    }

    /// The environments that are complete.
    fn environments(&self) -> Vec<PathBuf> {
        environments_in(&self.world.data)
    }
}

fn asking(dependencies: &str, header: &str, name: &str) -> String {
    let header: String = header.lines().map(|line| format!("# {line}\n")).collect();
    format!(
        "# /// script\n# dependencies = [{dependencies}]\n# [tool.dropcron]\n{header}# ///\nimport {name}\n\ndef run():\n    return {name}.VERSION\n"
    )
}

fn environments_in(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("environments")).into_iter().flatten().flatten();
    let complete = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    complete.map(|entry| entry.path()).collect()
}

/// What is being made, or was left behind.
fn unfinished_in(data: &Path) -> usize {
    let entries = fs::read_dir(data.join("environments")).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".building-"));
    unfinished.count()
}

#[test]
fn a_script_with_dependencies_just_runs_and_its_row_names_the_lock() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    shelf.script("a.py", "\"greeting\"", "schedule = \"@every 1s\"", "greeting");
    let serve = shelf.serve();
    shelf.wait_for_version("a", "1.0");
    let world = &shelf.world;
    let content = world.value(
        "select l.content from run_log r join package_lock l using (lock_sha256) where r.status = 'succeeded' limit 1",
    );
    assert!(
        content.starts_with("greeting==1.0") && content.contains("--hash=sha256:"),
        "{content}"
    );
    assert_eq!(
        world.value("select count(*) from run_log where status = 'failed'"),
        "0",
        "{}",
        world.run_log()
    );
    assert!(world.holds("select bool_and(python ~ '^3\\.[0-9]+\\.[0-9]+') from run_log where status = 'succeeded'"));
    // Compiled, by the interpreter that runs it.
    let [environment] = shelf.environments().try_into().unwrap();
    let compiled = Command::new("find")
        .arg(&environment)
        .args(["-path", "*greeting*", "-name", "*.pyc"])
        .output();
    assert!(!compiled.unwrap().stdout.is_empty());
    serve.stop();
}

#[test]
fn nothing_upgrades_by_itself_and_somebody_may() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    shelf.script("a.py", "\"greeting\"", "", "greeting");
    shelf.script("b.py", "\"greeting\"", "", "greeting");
    let serve = shelf.serve();
    shelf.wait_for_state("a", "ready");
    shelf.wait_for_state("b", "ready");
    assert_eq!(shelf.environments().len(), 1, "equal locks share one environment");
    shelf.wheel("greeting", "2.0");
    serve.stop();
    // Another version of the code, a restart, another machine: the lock stays.
    let text = asking("\"greeting\"", "", "greeting") + "# edited\n";
    shelf.world.script("a.py", &text);
    let other = shelf.world.root.join("other");
    let serve = shelf.world.serve_with(&other, &shelf.variables());
    wait_until("the other machine has the environment", || {
        environments_in(&other).len() == 1
    });
    serve.stop();
    let row = shelf.command(&["run", "a", "--json"]).output().unwrap();
    assert!(text_of(&row).contains("\"1.0\""), "{}", text_of(&row));

    let shown = shelf.command(&["lock", "a"]).output().unwrap();
    assert!(text_of(&shown).contains("greeting  1.0"), "{}", text_of(&shown));
    let upgraded = shelf.command(&["lock", "a", "--upgrade"]).output().unwrap();
    let text = text_of(&upgraded);
    assert!(
        upgraded.status.success() && text.contains("greeting  1.0     2.0"),
        "{text}"
    );
    assert!(text.contains("a, b"), "who else is concerned is said: {text}");
    let row = shelf.command(&["run", "b", "--json"]).output().unwrap();
    assert!(text_of(&row).contains("\"2.0\""), "{}", text_of(&row));
    assert_eq!(
        shelf
            .world
            .value("select count(*) from task_event where kind = 'environment' and actor <> 'syncer'"),
        "2"
    );
    // What no task needs any more goes, once nobody used it for so long; what is needed stays.
    let pruned = shelf
        .command(&["environments", "prune", "--unused-for", "0s"])
        .output()
        .unwrap();
    assert!(pruned.status.success(), "{}", text_of(&pruned));
    assert_eq!(shelf.environments().len(), 1, "{}", text_of(&pruned));
    let listed = shelf.command(&["environments"]).output().unwrap();
    assert!(text_of(&listed).contains("a, b"), "{}", text_of(&listed));
}

#[test]
fn the_previous_version_runs_until_the_new_one_has_its_packages() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    shelf.script("a.py", "\"greeting\"", "schedule = \"@every 1s\"", "greeting");
    let serve = shelf.serve();
    shelf.wait_for_version("a", "1.0");
    // A package that does not exist.
    shelf.script("a.py", "\"salutation\"", "schedule = \"@every 1s\"", "salutation");
    shelf.wait_for_state("a", "needs_attention");
    let problem = shelf.problem("a");
    assert!(
        problem.contains("salutation") && problem.contains("not found"),
        "{problem}"
    );
    let listed = shelf.world.dropcron_ok(&["tasks"]);
    assert!(listed.contains("salutation"), "{listed}");
    let before = shelf
        .world
        .value("select max(run_id) from run_log where status = 'succeeded'");
    shelf.world.wait_for(&format!(
        "select count(*) > 1 from run_log where run_id > {before} and return_value = '\"1.0\"'"
    ));
    assert_eq!(
        shelf
            .world
            .value("select count(*) from run_log where status = 'failed'"),
        "0"
    );
    // It comes to exist: whoever asks again gets it, and the new version with it.
    shelf.wheel("salutation", "3.0");
    let again = shelf.command(&["lock", "a", "--upgrade"]).output().unwrap();
    assert!(again.status.success(), "{}", text_of(&again));
    shelf.wait_for_version("a", "3.0");
    assert_eq!(
        shelf.world.value("select next_requirements_sha256 is null from task"),
        "t"
    );
    serve.stop();
}

#[test]
fn a_conflict_is_told_in_the_resolvers_words_and_an_edit_heals_it() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    shelf.wheel_with("letter", "1.0", "py3-none-any", "greeting>=2");
    shelf.script(
        "a.py",
        "\"greeting<2\", \"letter\"",
        "schedule = \"@every 1s\"",
        "greeting",
    );
    let serve = shelf.serve();
    shelf.wait_for_state("a", "needs_attention");
    let problem = shelf.problem("a");
    assert!(problem.contains("letter") && problem.contains("greeting"), "{problem}");
    // A task that never had its packages cannot run: its rows say why, in the same words.
    shelf.world.wait_for(
        "select count(*) > 0 from run_log where status = 'failed' and reason = 'environment' and error like '%letter%'",
    );
    shelf.script("a.py", "\"greeting<2\"", "schedule = \"@every 1s\"", "greeting");
    shelf.wait_for_version("a", "1.0");
    serve.stop();
}

#[test]
fn a_wheel_of_another_platform_is_refused_with_its_name() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel_with("greeting", "1.0", "cp311-cp311-win_amd64", "");
    shelf.script("a.py", "\"greeting\"", "", "greeting");
    let serve = shelf.serve();
    shelf.wait_for_state("a", "needs_attention");
    let problem = shelf.problem("a");
    assert!(problem.contains("greeting") && problem.contains("wheel"), "{problem}");
    assert_eq!((shelf.environments().len(), unfinished_in(&shelf.world.data)), (0, 0));
    serve.stop();
}

#[test]
fn a_build_that_hangs_is_stopped_with_all_it_started_and_a_later_one_succeeds() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (pid, gate) = (shelf.world.root.join("pid"), shelf.world.root.join("gate"));
    let lines = format!(
        "import os, subprocess\nif not os.path.exists({gate:?}):\n    child = subprocess.Popen(['sleep', '1000'])\n    open({pid:?}, 'w').write(str(child.pid))\n    child.wait()"
    );
    shelf.source("slow", "1.0", &lines);
    shelf.script("a.py", "\"slow\"", "", "slow");
    let serve = shelf.serve_with(&[("DROPCRON_BUILD_TIMEOUT", "5s")]);
    wait_until("the build hangs", || {
        fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())
    });
    shelf.wait_for_state("a", "building");
    shelf.wait_for_state("a", "needs_attention");
    let problem = shelf.problem("a");
    assert!(problem.contains("DROPCRON_BUILD_TIMEOUT"), "{problem}");
    let child = fs::read_to_string(&pid).unwrap();
    assert!(!Path::new(&format!("/proc/{child}")).exists(), "nothing of it is left");
    assert_eq!(unfinished_in(&shelf.world.data), 0);
    fs::write(&gate, "").unwrap();
    let again = shelf.command(&["lock", "a", "--upgrade"]).output().unwrap();
    assert!(again.status.success(), "{}", text_of(&again));
    serve.stop();
}

#[test]
fn a_run_that_is_due_first_waits_inside_its_timeout_and_others_go_on() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let gate = shelf.world.gate("go-on");
    shelf.source("slow", "1.0", &gate.wait());
    shelf.script(
        "a.py",
        "\"slow\"",
        "schedule = \"@every 1s\"\ntimeout = \"2s\"\noverlap = \"skip\"",
        "slow",
    );
    shelf.world.scheduled("plain.py", "@every 1s", "def run(): pass");
    // One place: a run that waits for its packages does not hold it.
    let serve = shelf.serve_with(&[("DROPCRON_MAX_RUNNING", "1")]);
    shelf.world.wait_for(
        "select count(*) > 0 from run_log where task_name = 'a' and status = 'failed' and reason = 'environment' \
            and error like '%within its timeout of 2 s%'",
    );
    shelf
        .world
        .wait_for("select count(*) > 1 from run_log where task_name = 'plain' and status = 'succeeded'");
    let mut gate = gate;
    gate.open();
    shelf.wait_for_version("a", "1.0");
    serve.stop();
}

#[test]
fn a_kill_in_the_middle_of_a_build_leaves_nothing_and_the_next_start_builds() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let (pid, gate) = (shelf.world.root.join("pid"), shelf.world.root.join("gate"));
    let lines = format!(
        "import os, time\nopen({pid:?}, 'w').write(str(os.getpid()))\nwhile not os.path.exists({gate:?}):\n    time.sleep(0.01)"
    );
    shelf.source("slow", "1.0", &lines);
    shelf.script("a.py", "\"slow\"", "schedule = \"@every 1s\"", "slow");
    let serve = shelf.serve();
    wait_until("the build has begun", || {
        fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())
    });
    assert!(unfinished_in(&shelf.world.data) > 0);
    serve.kill();
    let builder = fs::read_to_string(&pid).unwrap();
    wait_until("the build is gone with its service", || {
        !Path::new(&format!("/proc/{builder}")).exists()
    });
    assert_eq!(shelf.environments().len(), 0, "what is not complete does not count");
    fs::write(&gate, "").unwrap();
    let serve = shelf.serve();
    shelf.wait_for_version("a", "1.0");
    wait_until("what was left behind is gone", || unfinished_in(&shelf.world.data) == 0);
    serve.stop();
}

#[test]
fn two_processes_on_one_data_directory_make_one_environment() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    let file = shelf.script("a.py", "\"greeting\"", "", "greeting");
    let other = shelf.world.root.join("b.py");
    fs::copy(file, &other).unwrap();
    let runs: Vec<_> = (0..4)
        .map(|number| {
            let subject = if number % 2 == 0 {
                "a.py"
            } else {
                other.to_str().unwrap()
            };
            let mut command = shelf.command(&["run", subject, "--force"]);
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
    }
    assert_eq!((shelf.environments().len(), unfinished_in(&shelf.world.data)), (1, 0));
    assert_eq!(
        shelf
            .world
            .value("select count(*) from run_log where return_value = '\"1.0\"'"),
        "4"
    );
}

#[test]
fn a_full_disk_is_said_and_room_heals_it() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let directory = shelf.world.data.join("environments");
    fs::create_dir_all(&directory).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&directory)
        .output()
        .unwrap();
    if !mounted.status.success() {
        skip("a small file system cannot be mounted here");
        return;
    }
    let unmount = || Command::new("umount").arg(&directory).status().unwrap();
    shelf.wheel("greeting", "1.0");
    // More than there is room for.
    let body = "x".repeat(100_000);
    shelf.make(
        WHEEL,
        &[
            "large",
            "1.0",
            "py3-none-any",
            &format!("VERSION = '1.0'\nDATA = '{body}'\n"),
            "",
        ],
    );
    shelf.script("a.py", "\"large\"", "", "large");
    let serve = shelf.serve();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        shelf.wait_for_state("a", "needs_attention");
        let problem = shelf.problem("a");
        assert!(problem.contains("No space left on device"), "{problem}");
    }));
    assert!(unmount().success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    let again = shelf.command(&["lock", "a", "--upgrade"]).output().unwrap();
    assert!(again.status.success(), "{}", text_of(&again));
    let row = shelf.command(&["run", "a", "--json"]).output().unwrap();
    assert!(text_of(&row).contains("\"1.0\""), "{}", text_of(&row));
    serve.stop();
}

#[test]
fn without_uv_tasks_with_packages_need_attention_and_others_run() {
    let world = World::new();
    world.script("a.py", &asking("\"greeting\"", "schedule = \"@every 1s\"", "greeting"));
    world.scheduled("plain.py", "@every 1s", "def run(): return 1");
    let empty = world.root.join("bin");
    fs::create_dir_all(&empty).unwrap();
    let python = which_python();
    let serve = world.serve_with(
        &world.data,
        &[
            ("PATH", empty.to_str().unwrap()),
            ("DROPCRON_PYTHON", &python),
            ("DROPCRON_UV", ""),
        ],
    );
    world.wait_for("select count(*) > 0 from run_log where task_name = 'plain' and status = 'succeeded'");
    world.wait_for(
        "select count(*) > 0 from run_log where task_name = 'a' and reason = 'environment' and error like '%pip install uv%'",
    );
    assert_eq!(world.value("select problem like '%DROPCRON_UV%' from environment"), "t");
    serve.stop();
}

fn which_python() -> String {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_is_in_uvs_cache_serves_without_network() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    let project = shelf.packages.join("http/greeting");
    fs::create_dir_all(&project).unwrap();
    let wheel = "greeting-1.0-py3-none-any.whl";
    fs::rename(shelf.packages.join(wheel), project.join(wheel)).unwrap();
    // A directory over HTTP is an index: pages of links.
    let mut index = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
        .arg(shelf.packages.join("http"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(index.stdout.take().unwrap()), &mut said).unwrap();
    let port = said
        .split(" port ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    let run = |subject: &str, cache: &str, offline: &str| {
        let mut command = shelf.command(&["run", subject, "--json"]);
        command.env_remove("UV_FIND_LINKS").env("UV_DEFAULT_INDEX", &url);
        command
            .env("UV_CACHE_DIR", shelf.world.root.join(cache))
            .env("UV_OFFLINE", offline);
        command.output().unwrap()
    };
    shelf.script("a.py", "\"greeting\"", "", "greeting");
    let row = run("a.py", "warm", "0");
    assert!(row.status.success(), "{}", text_of(&row));
    // The environment is gone, and so is where its packages came from.
    index.kill().unwrap();
    index.wait().unwrap();
    for environment in shelf.environments() {
        fs::remove_dir_all(environment).unwrap();
    }
    let row = run("a", "cold", "1");
    assert!(
        !row.status.success(),
        "without the cache there is nothing: {}",
        text_of(&row)
    );
    let row = run("a", "warm", "1");
    assert!(row.status.success(), "{}", text_of(&row));
    assert_eq!(shelf.environments().len(), 1);
}

#[test]
fn a_file_beside_the_script_names_its_packages_and_a_change_of_it_counts() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    for (name, version) in [("greeting", "1.0"), ("greeting", "2.0")] {
        shelf.wheel(name, version);
    }
    let body = "import greeting\ndef run(): return greeting.VERSION";
    shelf.world.scheduled("team/a.py", "@every 1s", body);
    let list = shelf.world.scripts.join("team/requirements.txt");
    fs::write(&list, "greeting==1.0\n").unwrap();
    let serve = shelf.serve();
    shelf.wait_for_version("team/a", "1.0");
    fs::write(&list, "greeting==2.0\n").unwrap();
    shelf.wait_for_version("team/a", "2.0");
    fs::remove_file(&list).unwrap();
    fs::write(
        shelf.world.scripts.join("team/pyproject.toml"),
        "[project]\nname = \"team\"\nversion = \"1\"\ndependencies = [\"greeting<2\"]\n",
    )
    .unwrap();
    let after = shelf.world.value("select max(run_id) from run_log");
    shelf.world.wait_for(&format!(
        "select count(*) > 0 from run_log where run_id > {after} and return_value = '\"1.0\"'"
    ));
    serve.stop();
}

#[test]
fn an_interpreter_that_fits_is_chosen_and_where_none_does_it_is_said_what_there_is() {
    let world = World::new();
    world.script(
        "a.py",
        "# /// script\n# requires-python = \">=3.99\"\n# [tool.dropcron]\n# schedule = \"@every 1s\"\n# ///\ndef run(): pass\n",
    );
    let python = which_python();
    let version = {
        let output = Command::new(&python)
            .args(["-c", "import platform; print(platform.python_version())"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let serve = world.serve_with(&world.data, &[("DROPCRON_PYTHON", &python)]);
    world.wait_for("select count(*) > 0 from run_log where reason = 'environment'");
    let error = world.value("select error from run_log where reason = 'environment' limit 1");
    assert!(error.contains(">=3.99") && error.contains(&version), "{error}");
    assert!(error.contains("DROPCRON_PYTHON_DOWNLOADS=1"), "{error}");
    serve.stop();
}

#[test]
fn a_task_may_name_an_interpreter_that_somebody_manages() {
    let world = World::new();
    let made = world.root.join("app");
    let output = Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(&made)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let python = made.join("bin/python");
    let header = format!("python = {python:?}");
    world.script(
        "a.py",
        &crate::support::with_header(&header, "import sys\ndef run(): return sys.prefix"),
    );
    world.script(
        "gone.py",
        &crate::support::with_header("python = \"/nowhere/python\"", "def run(): pass"),
    );
    let row = world.dropcron_ok(&["run", "a.py", "--json"]);
    assert!(row.contains(made.to_str().unwrap()), "{row}");
    let row = world.dropcron(&["run", "gone.py", "--json"]);
    let text = text_of(&row);
    assert!(
        !row.status.success() && text.contains("/nowhere/python") && text.contains("environment"),
        "{text}"
    );
}

#[test]
fn credentials_reach_the_build_and_neither_the_log_nor_the_script() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    shelf.world.script(
        "a.py",
        "# /// script\n# dependencies = [\"absent\"]\n# [tool.dropcron]\n# ///\ndef run(): pass\n",
    );
    shelf.world.script(
        "b.py",
        "# /// script\n# dependencies = [\"greeting\"]\n# [tool.dropcron]\n# ///\nimport os\ndef run(): return sorted(os.environ)\n",
    );
    // Nobody listens there: uv says which address it could not reach.
    let index = [
        ("UV_INDEX", "http://me:s3cret@127.0.0.1:9/simple"),
        ("UV_NO_INDEX", "0"),
        ("UV_HTTP_RETRIES", "0"),
    ];
    let mut command = shelf.command(&["run", "a.py", "--json"]);
    let output = command.envs(index).output().unwrap();
    let text = text_of(&output);
    assert!(text.contains("127.0.0.1:9") && !text.contains("s3cret"), "{text}");
    let said = shelf
        .world
        .value("select string_agg(problem || log, '') from environment");
    assert!(said.contains("127.0.0.1:9") && !said.contains("s3cret"), "{said}");
    let row = shelf.command(&["run", "b.py", "--json"]).output().unwrap();
    assert!(
        row.status.success() && !text_of(&row).contains("UV_"),
        "{}",
        text_of(&row)
    );
}

#[test]
fn with_wheels_only_nothing_is_built_from_source() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let built = shelf.world.root.join("built");
    shelf.source("slow", "1.0", &format!("open({built:?}, 'w').write('x')"));
    shelf.script("a.py", "\"slow\"", "", "slow");
    let mut command = shelf.command(&["run", "a.py", "--json"]);
    let output = command.env("DROPCRON_ONLY_BINARY", "1").output().unwrap();
    assert!(
        !output.status.success() && text_of(&output).contains("slow"),
        "{}",
        text_of(&output)
    );
    assert!(!built.exists(), "no code of the package ran");
    let output = shelf.command(&["run", "a", "--json"]).output().unwrap();
    assert!(output.status.success() && built.exists(), "{}", text_of(&output));
}

#[test]
fn an_environment_in_use_is_not_removed() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    shelf.wheel("greeting", "1.0");
    let mut gate = shelf.world.gate("go-on");
    let text =
        asking("\"greeting\"", "", "greeting").replace("    return", &format!("    {}\n    return", gate.wait()));
    shelf.world.script("a.py", &text);
    let mut command = shelf.command(&["run", "a.py", "--json"]);
    let run = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    shelf
        .world
        .wait_for("select count(*) > 0 from run_log where status = 'running'");
    // Nobody needs it but the run.
    shelf.world.sql("update task set lock_sha256 = null");
    let prune = || {
        let output = shelf
            .command(&["environments", "prune", "--unused-for", "0s"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
    };
    prune();
    assert_eq!(shelf.environments().len(), 1);
    gate.open();
    assert!(run.wait_with_output().unwrap().status.success());
    prune();
    assert_eq!(shelf.environments().len(), 0);
}

#[test]
fn a_service_that_leaves_does_not_wait_for_a_build() {
    let Some(shelf) = Shelf::new() else {
        return;
    };
    let pid = shelf.world.root.join("pid");
    shelf.source(
        "slow",
        "1.0",
        &format!("import os, time\nopen({pid:?}, 'w').write(str(os.getpid()))\ntime.sleep(1000)"),
    );
    shelf.script("a.py", "\"slow\"", "schedule = \"@every 1s\"", "slow");
    let mut serve = shelf.serve();
    wait_until("the build has begun", || {
        fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())
    });
    serve.signal(Signal::TERM);
    assert_eq!(serve.wait(), Some(0), "{}", serve.log());
    let builder = fs::read_to_string(&pid).unwrap();
    wait_until("the build is gone too", || {
        !Path::new(&format!("/proc/{builder}")).exists()
    });
}
