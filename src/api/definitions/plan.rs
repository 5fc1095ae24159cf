//! What a set of definitions changes: shown as a plan, done in one transaction.
//!
//! The plan is made in the transaction that carries it out, under the lock that changes of
//! definitions share, so what is done is what was planned. Nothing in the set changing, nothing is
//! written at all.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::fault_point;
use crate::store::revision::Connection;

use super::{Defined, Definition, FileFault, fault};
use crate::store::workflows::{NewWorkflow, Workflow};
use crate::store::{self, Store, destinations, revision, sources, workflows};

/// What is done with one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It is as it was.
    Unchanged,
    /// It is not in the set and goes out of service (`--prune`).
    Delete,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Unchanged => "unchanged",
            Self::Delete => "delete",
        }
    }
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is done.
    pub action: Action,
    /// With what, such as `source shop`.
    pub subject: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {}", self.action.word(), self.subject)
    }
}

/// What a set comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the files, then what is deleted.
    pub lines: Vec<Line>,
}

impl Plan {
    /// Whether anything changes.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.action != Action::Unchanged)
    }
}

/// How a set is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Only make the plan.
    pub dry_run: bool,
    /// Take out of service what is not in the set.
    pub prune: bool,
}

/// Why a set was not applied; nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It contradicts what is stored.
    #[error("{}", super::lines(.0))]
    Conflicts(Vec<FileFault>),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Applies a set, all or nothing.
///
/// # Errors
/// Where a version is stored with other content, or the database does not take it.
pub async fn apply(store: &Store, set: Vec<Defined>, mode: Mode) -> Result<Plan, ApplyError> {
    let outcome = store
        .transaction(move |connection| {
            Box::pin(async move {
                revision::lock(connection).await?;
                let stored = Stored::read(connection, &set).await?;
                let conflicts = stored.conflicts(&set);
                if !conflicts.is_empty() {
                    return Ok(Err(conflicts));
                }
                let plan = stored.plan(&set, mode.prune);
                if !mode.dry_run && plan.changes() {
                    carry_out(connection, &set, &stored, mode).await?;
                    revision::raise(connection).await?;
                    fault_point::pass("deploy");
                }
                Ok(Ok(plan))
            })
        })
        .await?;
    fault_point::pass("deployed");
    outcome.map_err(ApplyError::Conflicts)
}

type Name = (String, String);

/// What is in the database of that which a set is about.
struct Stored {
    /// The versions of the set that are stored, by subject.
    versions: HashMap<String, Workflow>,
    active: Vec<Workflow>,
    sources: HashMap<String, String>,
    destinations: HashMap<String, String>,
    /// Of several versions of a workflow in the set, the highest is the one to be active.
    newest: HashMap<Name, String>,
    /// Subjects and workflow names in the set.
    kept: HashSet<String>,
}

impl Stored {
    async fn read(connection: &mut Connection, set: &[Defined]) -> Result<Self, store::Error> {
        let mut versions = HashMap::new();
        let mut newest: HashMap<Name, String> = HashMap::new();
        let mut kept = HashSet::new();
        for Defined { definition, .. } in set {
            kept.insert(definition.subject());
            let Definition::Workflow(new) = definition else {
                continue;
            };
            let identity = (
                new.namespace.as_str(),
                new.name.as_str(),
                new.version.as_str(),
            );
            if let Some(stored) = workflows::find(connection, identity).await? {
                versions.insert(definition.subject(), stored);
            }
            let name = (new.namespace.clone(), new.name.clone());
            let best = newest.entry(name).or_insert_with(|| new.version.clone());
            if compare(&new.version, best) == Ordering::Greater {
                best.clone_from(&new.version);
            }
        }
        let sources = sources::active(connection).await?;
        let destinations = destinations::active(connection).await?;
        Ok(Self {
            versions,
            active: workflows::active(connection).await?,
            sources: sources
                .into_iter()
                .map(|source| (source.name, source.text))
                .collect(),
            destinations: destinations
                .into_iter()
                .map(|one| (one.name, one.text))
                .collect(),
            newest,
            kept,
        })
    }

    fn conflicts(&self, set: &[Defined]) -> Vec<FileFault> {
        let conflict = |defined: &Defined| {
            let Definition::Workflow(new) = &defined.definition else {
                return None;
            };
            let subject = defined.definition.subject();
            let stored = self.versions.get(&subject)?;
            (stored.digest != new.digest).then(|| {
                let message = format!("{subject} is stored with other content");
                fault(defined, message, "raise document.version")
            })
        };
        set.iter().filter_map(conflict).collect()
    }

    fn is_newest(&self, new: &NewWorkflow) -> bool {
        let name = (new.namespace.clone(), new.name.clone());
        self.newest.get(&name) == Some(&new.version)
    }

    fn action(&self, definition: &Definition) -> Action {
        let (stored, text) = match definition {
            Definition::Workflow(new) => {
                return match self.versions.get(&definition.subject()) {
                    None => Action::Create,
                    Some(stored) if self.is_newest(new) && !stored.active => Action::Update,
                    Some(_) => Action::Unchanged,
                };
            }
            Definition::Source(name, text) => (self.sources.get(name), text),
            Definition::Destination(name, text) => (self.destinations.get(name), text),
        };
        match stored {
            None => Action::Create,
            Some(stored) if stored == text => Action::Unchanged,
            Some(_) => Action::Update,
        }
    }

    fn plan(&self, set: &[Defined], prune: bool) -> Plan {
        let mut lines: Vec<Line> = set
            .iter()
            .map(|Defined { definition, .. }| Line {
                action: self.action(definition),
                subject: definition.subject(),
            })
            .collect();
        if prune {
            let gone = self.gone();
            lines.extend(gone.into_iter().map(|(subject, _)| Line {
                action: Action::Delete,
                subject,
            }));
        }
        Plan { lines }
    }

    /// What is in service but not in the set.
    fn gone(&self) -> Vec<(String, Gone)> {
        let workflows = self.active.iter().filter_map(
            |Workflow {
                 namespace,
                 name,
                 version,
                 id,
                 ..
             }| {
                let named = (namespace.clone(), name.clone());
                let subject = format!("workflow {namespace}/{name} {version}");
                (!self.newest.contains_key(&named)).then_some((subject, Gone::Workflow(*id)))
            },
        );
        let sources = self
            .sources
            .keys()
            .map(|name| (format!("source {name}"), Gone::Source(name.clone())));
        let destinations = self.destinations.keys().map(|name| {
            (
                format!("destination {name}"),
                Gone::Destination(name.clone()),
            )
        });
        let documents = sources.chain(destinations);
        let documents = documents.filter(|(subject, _)| !self.kept.contains(subject));
        let mut gone: Vec<(String, Gone)> = workflows.chain(documents).collect();
        gone.sort_by(|(a, _), (b, _)| a.cmp(b));
        gone
    }
}

enum Gone {
    Workflow(i32),
    Source(String),
    Destination(String),
}

async fn carry_out(
    connection: &mut Connection,
    set: &[Defined],
    stored: &Stored,
    mode: Mode,
) -> Result<(), store::Error> {
    for Defined { definition, .. } in set {
        if stored.action(definition) == Action::Unchanged {
            continue;
        }
        match definition {
            Definition::Workflow(new) if stored.is_newest(new) => {
                workflows::deploy(connection, new).await?;
            }
            Definition::Workflow(new) => {
                workflows::insert(connection, new).await?;
            }
            Definition::Source(name, text) => {
                sources::put(connection, name, text).await?;
            }
            Definition::Destination(name, text) => {
                destinations::put(connection, name, text).await?;
            }
        }
    }
    let gone = if mode.prune {
        stored.gone()
    } else {
        Vec::new()
    };
    for (_, gone) in gone {
        match gone {
            Gone::Workflow(id) => workflows::retire(connection, id).await?,
            Gone::Source(name) => drop(sources::remove(connection, &name).await?),
            Gone::Destination(name) => drop(destinations::remove(connection, &name).await?),
        }
    }
    Ok(())
}

/// Order of semantic versions (semver.org, section 11).
fn compare(a: &str, b: &str) -> Ordering {
    let split = |version: &str| -> (Vec<u64>, Option<String>) {
        let version = version.split('+').next().unwrap_or_default();
        let (core, pre) = version
            .split_once('-')
            .map_or((version, None), |(c, p)| (c, Some(p)));
        let numbers = core
            .split('.')
            .map(|part| part.parse().unwrap_or_default())
            .collect();
        (numbers, pre.map(str::to_owned))
    };
    let ((core_a, pre_a), (core_b, pre_b)) = (split(a), split(b));
    core_a.cmp(&core_b).then_with(|| match (pre_a, pre_b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => pre_release(&a, &b),
    })
}

fn pre_release(a: &str, b: &str) -> Ordering {
    let part = |part: &str| match part.parse::<u64>() {
        // Numbers come before words.
        Ok(number) => (0, number, String::new()),
        Err(_) => (1, 0, part.to_owned()),
    };
    a.split('.').map(part).cmp(b.split('.').map(part))
}
