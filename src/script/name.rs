//! From a path to the name of a task, and which files are no script at all.
//!
//! The name is the path inside the scripts directory without its suffix: `prices/btc.py` is the task `prices/btc`.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

/// How many characters a task's name may have: it stands in table rows, URLs and log lines, and the longest file name
/// that usual file systems allow (255 bytes) is hardly longer.
pub const MAX_NAME_CHARACTERS: usize = 200;

/// The starts of the tags that CPython and others put before `.so` and `.pyc` to say for which interpreter the file is
/// (PEP 3147, PEP 3149, and `abi3` of PEP 384).
const INTERPRETER_TAGS: [&str; 4] = ["cpython-", "abi3", "pypy", "graalpy"];

/// What kind of file a script is. Where several files make one task, the first in this order is the script.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptKind {
    /// `.py`: the header is a comment block in the file.
    Source,
    /// `.pyc`: the header is in a sidecar.
    Bytecode,
    /// `.so`: the header is in a sidecar.
    Extension,
}

impl ScriptKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Source, Self::Bytecode, Self::Extension];

    /// The kind of a file by its suffix; `None` is no script.
    pub fn of(path: &Path) -> Option<Self> {
        let suffix = path.extension()?;
        Self::ALL.into_iter().find(|kind| suffix == kind.suffix())
    }

    /// The suffix of such files, without the dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Source => "py",
            Self::Bytecode => "pyc",
            Self::Extension => "so",
        }
    }

    /// Whether the header is in a file of its own (see [`sidecar_of`]).
    pub fn has_sidecar(self) -> bool {
        self != Self::Source
    }
}

/// The file that carries the header of a compiled script: `a.toml` for `a.pyc` and for
/// `a.cpython-311-x86_64-linux-gnu.so`. `None` where the header is in the file itself or the file is no script.
pub fn sidecar_of(path: &Path) -> Option<PathBuf> {
    ScriptKind::of(path).filter(|kind| kind.has_sidecar())?;
    let stem = stem_of(path.file_name()?.to_str()?)?;
    Some(path.with_file_name(format!("{stem}.toml")))
}

/// The name of a task: its script's path inside the scripts directory, without suffix, with `/` between directories.
///
/// Spaces, dots, dashes and letters of any script are allowed; control characters are not.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct TaskName(String);

/// Why a path or a text is not the name of a task.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameProblem {
    /// The path has bytes that are no text.
    #[error("the path `{}` is not valid UTF-8; rename the file so that its task has a name that can be typed", path.display())]
    NotUtf8 {
        /// The path, shown with replacement characters.
        path: PathBuf,
    },
    /// The path does not lead to a file below the scripts directory.
    #[error("the path `{}` does not lead into the scripts directory; give it relative to that directory, without `..`", path.display())]
    Outside {
        /// The path.
        path: PathBuf,
    },
    /// The name has a character that would garble a terminal, a log line or the name itself.
    #[error("the name {name:?} has the control character {character:?}; use letters, digits, `-`, `_`, `.` or spaces")]
    ControlCharacter {
        /// The name.
        name: String,
        /// The first such character.
        character: char,
    },
    /// The name is longer than [`MAX_NAME_CHARACTERS`].
    #[error(
        "the name `{}...` has {characters} characters; at most {MAX_NAME_CHARACTERS} are allowed, directories included",
        name.chars().take(40).collect::<String>()
    )]
    TooLong {
        /// The name.
        name: String,
        /// How many characters it has.
        characters: usize,
    },
    /// The name still ends in a suffix of scripts, as that of `a.py.py` does.
    #[error("the name `{name}` still ends in `.{suffix}`; remove one of the suffixes from the file's name")]
    DoubleSuffix {
        /// The name.
        name: String,
        /// The suffix at its end.
        suffix: &'static str,
    },
    /// The text has an empty part, or one that is `.` or `..`.
    #[error("`{text}` is not the name of a task; write it as `name` or `directory/name`")]
    NotAName {
        /// What was typed.
        text: String,
    },
}

impl TaskName {
    /// The name of the task that a file makes; the path is relative to the scripts directory.
    ///
    /// `Ok(None)` is a file that is no script: another suffix than `.py`, `.pyc` or `.so`, a name that begins with `_`
    /// or `.`, or a place in a directory that begins with `.` or is `__pycache__`. `Err` is a file that would be a
    /// script but cannot have a name.
    pub fn from_path(relative: &Path) -> Result<Option<Self>, NameProblem> {
        if ScriptKind::of(relative).is_none() || is_ignored(relative) {
            return Ok(None);
        }
        let mut parts = text_parts(relative)?;
        let Some(stem) = parts.pop().and_then(stem_of) else {
            return Ok(None);
        };
        parts.push(stem);
        Self::checked(parts.join("/")).map(Some)
    }

    /// The name that a person typed: `prices/btc`, and as shells complete it `./prices/btc.py`.
    pub fn parse(text: &str) -> Result<Self, NameProblem> {
        let path = text.strip_prefix("./").unwrap_or(text);
        let name = stem_of(path).unwrap_or(path);
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(NameProblem::NotAName { text: text.to_owned() });
        }
        Self::checked(name.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn checked(name: String) -> Result<Self, NameProblem> {
        let characters = name.chars().count();
        if characters > MAX_NAME_CHARACTERS {
            return Err(NameProblem::TooLong { name, characters });
        }
        if let Some(character) = name.chars().find(|character| is_deceptive(*character)) {
            return Err(NameProblem::ControlCharacter { name, character });
        }
        // Without this rule the text `a.py` would mean the task of `a.py.py` to one reader and that of `a.py` to another.
        match ScriptKind::of(Path::new(&name)) {
            Some(kind) => Err(NameProblem::DoubleSuffix {
                name,
                suffix: kind.suffix(),
            }),
            None => Ok(Self(name)),
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for TaskName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskName {
    type Err = NameProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Whether a character shows nothing itself and changes how others are shown: control characters, and those that turn the
/// direction of text, so that `gpj.exe` reads as `exe.jpg`.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a path is left alone, by its own name or by that of a directory above it.
///
/// Compared as bytes, so that a file with a broken name in a hidden directory is ignored like its neighbours.
fn is_ignored(relative: &Path) -> bool {
    let own_name = relative.file_name().unwrap_or_default();
    own_name.as_encoded_bytes().starts_with(b"_")
        || relative.components().any(|component| match component {
            Component::Normal(part) => part.as_encoded_bytes().starts_with(b".") || part == "__pycache__",
            _ => false,
        })
}

/// The parts of a path as text; an error for one that leads out of the directory.
fn text_parts(relative: &Path) -> Result<Vec<&str>, NameProblem> {
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => {
                parts.push(part.to_str().ok_or_else(|| NameProblem::NotUtf8 {
                    path: relative.to_owned(),
                })?);
            }
            _ => {
                return Err(NameProblem::Outside {
                    path: relative.to_owned(),
                });
            }
        }
    }
    Ok(parts)
}

/// A file's name without its suffix and, where compiled, without the interpreter's tag; `None` without such a suffix.
fn stem_of(file_name: &str) -> Option<&str> {
    let kind = ScriptKind::of(Path::new(file_name))?;
    let stem = file_name.strip_suffix(kind.suffix())?.strip_suffix('.')?;
    match kind {
        ScriptKind::Source => Some(stem),
        ScriptKind::Bytecode | ScriptKind::Extension => Some(without_interpreter_tag(stem)),
    }
}

/// `a` of `a`, `a.cpython-311`, `a.cpython-311.opt-1` and `a.cpython-311-x86_64-linux-gnu`.
fn without_interpreter_tag(stem: &str) -> &str {
    let untagged = |stem: &str| {
        let (name, tag) = stem.rsplit_once('.')?;
        let is_tag = INTERPRETER_TAGS.iter().any(|start| tag.starts_with(start));
        (is_tag && !name.is_empty()).then_some(name.len())
    };
    let without_level = stem.rsplit_once(".opt-").map_or(stem, |(name, _)| name);
    untagged(without_level)
        .or_else(|| untagged(stem))
        .map_or(stem, |length| &stem[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn name(path: &str) -> Option<String> {
        TaskName::from_path(Path::new(path))
            .unwrap()
            .map(|name| name.to_string())
    }

    fn problem(path: &str) -> NameProblem {
        TaskName::from_path(Path::new(path)).unwrap_err()
    }

    #[test]
    fn a_name_is_the_path_without_its_suffix() {
        for (path, expected) in [
            ("a.py", "a"),
            ("./prices/btc.py", "prices/btc"),
            ("prices//btc.py", "prices/btc"),
            ("my report v1.2 - final.py", "my report v1.2 - final"),
            ("über/日本語.py", "über/日本語"),
            ("_shared/x.py", "_shared/x"),
            ("a'b\"c`d$e.py", "a'b\"c`d$e"),
        ] {
            assert_eq!(name(path).as_deref(), Some(expected));
        }
    }

    #[test]
    fn source_bytecode_and_extension_give_one_name() {
        for path in [
            "d/a.py",
            "d/a.pyc",
            "d/a.cpython-311.pyc",
            "d/a.cpython-311.opt-1.pyc",
            "d/a.so",
            "d/a.abi3.so",
            "d/a.cpython-311-x86_64-linux-gnu.so",
            "d/a.cpython-313t-x86_64-linux-gnu.so",
            "d/a.pypy310-pp73-x86_64-linux-gnu.so",
        ] {
            assert_eq!(name(path).as_deref(), Some("d/a"), "{path}");
        }
        assert_eq!(name("v1.2.so").as_deref(), Some("v1.2"));
        assert_eq!(name("a.cpython-311.py").as_deref(), Some("a.cpython-311"));
        assert_eq!(name("a.opt-in.pyc").as_deref(), Some("a.opt-in"));
    }

    #[test]
    fn what_is_no_script_is_ignored() {
        for path in [
            "",
            "/",
            "a",
            "a.txt",
            "a.PY",
            "a.toml",
            "a.py~",
            "a.py.swp",
            "_a.py",
            "__init__.py",
            ".a.py",
            ".py",
            ".so",
            "d/_a.py",
            ".git/a.py",
            ".venv/lib/a.py",
            "d/.hidden/a.py",
            "__pycache__/a.cpython-311.pyc",
            "d/__pycache__/a.pyc",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn a_script_that_cannot_have_a_name_is_a_problem() {
        assert!(matches!(
            problem("a\nb.py"),
            NameProblem::ControlCharacter { character: '\n', .. }
        ));
        assert!(matches!(problem("d\u{7f}/b.py"), NameProblem::ControlCharacter { .. }));
        // It would be read as `hxe.py`.
        assert!(matches!(
            problem("h\u{202e}yp.exe.py"),
            NameProblem::ControlCharacter { .. }
        ));
        assert!(matches!(problem("../a.py"), NameProblem::Outside { .. }));
        assert!(matches!(problem("/a.py"), NameProblem::Outside { .. }));
        assert!(matches!(
            problem("a.py.py"),
            NameProblem::DoubleSuffix { suffix: "py", .. }
        ));
        let broken = Path::new(OsStr::from_bytes(b"a\xff.py"));
        assert!(matches!(TaskName::from_path(broken), Err(NameProblem::NotUtf8 { .. })));
    }

    #[test]
    fn problems_show_no_raw_control_character() {
        assert_eq!(
            problem("a\nb.py").to_string(),
            r#"the name "a\nb" has the control character '\n'; use letters, digits, `-`, `_`, `.` or spaces"#
        );
    }

    #[test]
    fn a_name_has_at_most_two_hundred_characters() {
        let longest = "é".repeat(200);
        assert_eq!(name(&format!("{longest}.py")), Some(longest.clone()));
        assert!(matches!(
            problem(&format!("d/{longest}.py")),
            NameProblem::TooLong { characters: 202, .. }
        ));
    }

    #[test]
    fn what_people_type_finds_the_same_task() {
        for text in [
            "prices/btc",
            "./prices/btc",
            "prices/btc.py",
            "./prices/btc.py",
            "prices/btc.abi3.so",
        ] {
            assert_eq!(TaskName::parse(text).unwrap().as_str(), "prices/btc");
        }
        for text in ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", ".py/"] {
            assert!(
                matches!(TaskName::parse(text), Err(NameProblem::NotAName { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            TaskName::parse("a\u{0}"),
            Err(NameProblem::ControlCharacter { .. })
        ));
    }

    #[test]
    fn a_compiled_script_has_a_sidecar() {
        let sidecar = |path: &str| sidecar_of(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(sidecar("d/a.pyc").as_deref(), Some("d/a.toml"));
        assert_eq!(
            sidecar("/d/a.cpython-311-x86_64-linux-gnu.so").as_deref(),
            Some("/d/a.toml")
        );
        assert_eq!(sidecar("v1.2.so").as_deref(), Some("v1.2.toml"));
        assert_eq!(sidecar("a.py"), None);
        assert_eq!(sidecar("a.txt"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_name_from_a_path_survives_being_typed(path in "[a-z_.ü \\-/]{0,12}\\.(py|pyc|so)") {
            if let Ok(Some(name)) = TaskName::from_path(Path::new(&path)) {
                proptest::prop_assert_eq!(TaskName::parse(name.as_str()), Ok(name));
            }
        }

        #[test]
        fn no_text_panics(text in proptest::prelude::any::<String>()) {
            let _ = TaskName::parse(&text);
            let _ = TaskName::from_path(Path::new(&text));
            let _ = sidecar_of(Path::new(&text));
        }
    }
}
