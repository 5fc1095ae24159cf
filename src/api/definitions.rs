//! Definitions as files: a directory of workflows, sources and destinations, read as one set.
//!
//! Used by `apply`, `check` and `serve --definitions`. Everything is read and checked before
//! anything is changed, and all that is wrong is told at once, with file, line and column. What a
//! set changes, and the change itself, is in [`plan`].

pub mod plan;
pub mod secrets;

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, State, workflows};
use crate::store::workflows::NewWorkflow;
use crate::workflow::document::{self, Node, TEXT_BYTES_MAX};
use crate::workflow::{Documents, Fault};

/// Most files in a directory of definitions.
const FILES_MAX: usize = 10_000;

/// How deep directories are followed.
const DIRECTORIES_DEPTH_MAX: usize = 16;

/// Reads a document of one kind and gives its name.
pub type Check = fn(&str) -> Result<String, Vec<Fault>>;

/// The readers of the kinds that belong to other modules.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Of sources.
    pub source: Check,
    /// Of destinations.
    pub destination: Check,
}

/// One checked definition.
#[derive(Clone, Debug)]
pub enum Definition {
    /// A version of a workflow.
    Workflow(NewWorkflow),
    /// A source: name and text.
    Source(String, String),
    /// A destination: name and text.
    Destination(String, String),
}

impl Definition {
    /// What it defines, such as `source shop`: unique in a set.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Workflow(NewWorkflow {
                namespace,
                name,
                version,
                ..
            }) => {
                format!("workflow {namespace}/{name} {version}")
            }
            Self::Source(name, _) => format!("source {name}"),
            Self::Destination(name, _) => format!("destination {name}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Workflow(workflow) => &workflow.text,
            Self::Source(_, text) | Self::Destination(_, text) => text,
        }
    }
}

/// A definition and the file it stands in.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Path below the directory.
    pub path: PathBuf,
    /// What stands there.
    pub definition: Definition,
}

/// One thing wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// Path below the directory.
    pub path: PathBuf,
    /// What is wrong, and where.
    pub fault: Fault,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            pointer,
            line,
            column,
            message,
            hint,
        } = &self.fault;
        write!(f, "{}:{line}:{column}: ", self.path.display())?;
        if !pointer.is_empty() {
            write!(f, "{pointer}: ")?;
        }
        write!(f, "{message}")?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// Why a directory gives no set.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Something in it cannot be read at all.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It has more files or levels than any real one.
    #[error("{0}")]
    TooMuch(String),
    /// Some files are wrong: all of them, in order.
    #[error("{}", lines(.0))]
    Faults(Vec<FileFault>),
}

fn lines(faults: &[FileFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A file of definitions as it travels from `apply` to the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// Path below the directory.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// All files of definitions below a directory, unread: every `.yaml`, `.yml` and `.json` file
/// whose name does not start with a dot, and that holds no tests.
///
/// # Errors
/// Where one cannot be read.
pub fn files(directory: &Path) -> Result<Vec<File>, ReadError> {
    let relative = |mut file: File| {
        file.path = match file.path.strip_prefix(directory) {
            Ok(path) => path.to_owned(),
            Err(_) => file.path,
        };
        file
    };
    let paths = paths(directory, |path| is_definition(path) && !is_test(path))?;
    let files = paths.into_iter().map(|path| file(&path).map(relative));
    files.collect()
}

/// The paths of all tests of workflows below a directory, in order.
///
/// # Errors
/// Where a directory cannot be read.
pub fn tests(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    paths(directory, |path| is_definition(path) && is_test(path))
}

/// One file, unread; its path is the one given.
///
/// # Errors
/// Where it cannot be read.
pub fn file(path: &Path) -> Result<File, ReadError> {
    let text = text(path)?;
    Ok(File {
        path: path.to_owned(),
        text,
    })
}

/// Whether a file holds tests of a workflow: its name ends in `.test.yaml`, or `.yml`, `.json`.
#[must_use]
pub fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.is_some_and(|stem| stem.ends_with(".test"))
}

fn paths(directory: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>, ReadError> {
    let mut paths = Vec::new();
    find(directory, 0, &mut paths)?;
    paths.retain(|path| wanted(path));
    paths.sort();
    Ok(paths)
}

/// Reads and checks all definitions below a directory, one document in each file, without the API
/// documents that its workflows name.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn read(directory: &Path, checks: &Checks) -> Result<Vec<Defined>, ReadError> {
    check(files(directory)?, checks, &Documents::default())
}

/// Checks files as one set, with the API documents that its workflows name.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn check(
    files: Vec<File>,
    checks: &Checks,
    documents: &Documents,
) -> Result<Vec<Defined>, ReadError> {
    let (mut set, mut faults) = (Vec::new(), Vec::new());
    for File { path, text } in files {
        match definition(text, checks, documents) {
            Ok(definition) => set.push(Defined { path, definition }),
            Err(found) => {
                let placed = |fault| FileFault {
                    path: path.clone(),
                    fault,
                };
                faults.extend(found.into_iter().map(placed));
            }
        }
    }
    twice(&set, &mut faults);
    if faults.is_empty() {
        Ok(set)
    } else {
        Err(ReadError::Faults(faults))
    }
}

fn find(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |cause| ReadError::Unreadable { path, cause }
    };
    if depth > DIRECTORIES_DEPTH_MAX {
        let text = format!("{} is more than 16 directories deep", directory.display());
        return Err(ReadError::TooMuch(text));
    }
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let entry = entry.map_err(unreadable(directory))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Links to files are followed (mounted configuration is made of them), to directories not.
        let kind = entry.file_type().map_err(unreadable(&path))?;
        if kind.is_dir() {
            find(&path, depth + 1, paths)?;
        } else if is_definition(&path) && std::fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(ReadError::TooMuch(format!(
                "there are more than {FILES_MAX} files"
            )));
        }
    }
    Ok(())
}

fn is_definition(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}

fn text(path: &Path) -> Result<String, ReadError> {
    let read = || {
        let mut text = String::new();
        // One byte more than is allowed, so that a longer one is found too long, not cut.
        let at_most = u64::try_from(TEXT_BYTES_MAX)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        std::fs::File::open(path)?
            .take(at_most)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|cause| ReadError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}

/// Reads one document of any kind.
///
/// # Errors
/// Everything wrong in it.
pub fn definition(
    text: String,
    checks: &Checks,
    documents: &Documents,
) -> Result<Definition, Vec<Fault>> {
    let node = document::read(&text).map_err(|fault| vec![fault])?;
    let has = |name: &str| node.get(name).is_some();
    match (has("document"), has("source"), has("destination")) {
        (true, false, false) => workflows::read(&text, documents).map(Definition::Workflow),
        (false, true, false) => Ok(Definition::Source((checks.source)(&text)?, text)),
        (false, false, true) => Ok(Definition::Destination((checks.destination)(&text)?, text)),
        _ => Err(vec![unknown(&node)]),
    }
}

fn unknown(node: &Node) -> Fault {
    Fault {
        pointer: String::new(),
        line: node.line,
        column: node.column,
        message: "this is no definition".to_owned(),
        hint: Some(
            "exactly one of document: (a workflow), source: and destination: must be there"
                .to_owned(),
        ),
    }
}

/// Two files that define the same: which one counts nobody should have to guess.
fn twice(set: &[Defined], faults: &mut Vec<FileFault>) {
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for defined in set {
        let subject = defined.definition.subject();
        if let Some(first) = seen.get(&subject) {
            let message = format!("{subject} is defined in {} already", first.display());
            faults.push(fault(defined, message, "remove one of the two"));
        } else {
            seen.insert(subject, &defined.path);
        }
    }
}

/// A fault about what a file defines, at the place where it says so.
fn fault(defined: &Defined, message: String, hint: &str) -> FileFault {
    let pointer = match defined.definition {
        Definition::Workflow(_) => "/document/version",
        Definition::Source(..) => "/source",
        Definition::Destination(..) => "/destination",
    };
    let node = document::read(defined.definition.text()).ok();
    let place = node.as_ref().and_then(|node| node.pointer(pointer));
    let fault = Fault {
        pointer: pointer.to_owned(),
        line: place.map_or(1, |place| place.line),
        column: place.map_or(1, |place| place.column),
        message,
        hint: Some(hint.to_owned()),
    };
    FileFault {
        path: defined.path.clone(),
        fault,
    }
}

/// Checks the text of a source or destination that is put under a name.
///
/// # Errors
/// 422 with everything wrong in it, or where it names itself otherwise.
pub(super) async fn named(
    kind: &str,
    name: &str,
    state: &State,
    (check, text): (Check, String),
) -> Result<(), Error> {
    let invalid = |errors| Error::Invalid {
        detail: format!("the {kind} is not valid; nothing was changed"),
        errors,
    };
    let own = state.work(move || check(&text)).await?.map_err(invalid)?;
    if own == name {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the text says `{kind}: {own}`, the path says {name}"
    )))
}
