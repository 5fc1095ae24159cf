//! `use`: what tasks refer to by name.
//!
//! A component is compiled where it is used, because there it is known which variables it may
//! name; what nobody uses is compiled once so that it is checked too.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Context, authentication, catch, field, unsupported};
use crate::workflow::document::{Object, Place};
use crate::workflow::openapi::Operation;

/// Most characters of a secret's name.
const SECRET_CHARS_MAX: usize = 128;

/// The named members of one section of `use`.
#[derive(Default)]
pub struct Section<'a> {
    members: BTreeMap<&'a str, Place<'a>>,
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Section<'a> {
    fn of(place: Option<Place<'a>>) -> Self {
        let object = place.and_then(|place| place.object());
        let members = object.iter().flat_map(Object::members);
        Self {
            members: members
                .map(|(key, place)| (key.name.as_str(), place))
                .collect(),
            used: RefCell::default(),
        }
    }

    /// The member of this name; it counts as used from now on.
    pub fn find(&self, name: &str) -> Option<&Place<'a>> {
        let (name, place) = self.members.get_key_value(name)?;
        self.used.borrow_mut().insert(name);
        Some(place)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, &Place<'a>)> + '_ {
        self.members.iter().map(|(name, place)| (*name, place))
    }

    /// All names, for hints.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.members.keys().copied()
    }

    fn unused(&self) -> impl Iterator<Item = &Place<'a>> {
        let used = self.used.borrow().clone();
        let unused = move |(name, _): &(&&'a str, &Place<'a>)| !used.contains(*name);
        self.members.iter().filter(unused).map(|(_, place)| place)
    }
}

/// The sections of `use` that this version runs.
#[derive(Default)]
pub struct Components<'a> {
    pub authentications: Section<'a>,
    pub errors: Section<'a>,
    pub functions: Section<'a>,
    pub retries: Section<'a>,
    pub timeouts: Section<'a>,
    /// Operations of API documents that are called, by document and id.
    pub pins: RefCell<BTreeMap<(String, String), Arc<Operation>>>,
    /// Names of secrets, in the order written.
    pub secrets: Vec<String>,
}

impl<'a> Components<'a> {
    /// Takes `use` apart.
    pub fn of(place: Option<&Place<'a>>) -> Self {
        let Some(object) = place.and_then(Place::object) else {
            return Self::default();
        };
        for (name, what) in [
            ("extensions", "extending tasks"),
            ("catalogs", "using catalogs"),
        ] {
            if let Some(place) = object.optional(name) {
                unsupported(&place, what);
            }
        }
        let components = Self {
            authentications: Section::of(object.optional("authentications")),
            errors: Section::of(object.optional("errors")),
            functions: Section::of(object.optional("functions")),
            retries: Section::of(object.optional("retries")),
            timeouts: Section::of(object.optional("timeouts")),
            pins: RefCell::default(),
            secrets: secrets(object.optional("secrets")),
        };
        object.finish();
        components
    }

    /// Checks what no task has referred to.
    pub fn check_unused(&self, context: &Context<'_>) {
        for place in self.timeouts.unused() {
            let _ = field::timeout_object(place, context);
        }
        for place in self.errors.unused() {
            let _ = super::task::error(place, context);
        }
        for place in self.authentications.unused() {
            let _ = authentication::policy(place, context);
        }
        let caught = context.with_variables(&["error"]);
        for place in self.retries.unused() {
            let _ = catch::retry_policy(place, &caught);
        }
    }

    /// Whether a secret is listed; where it is not, a fault at the place that names it.
    pub fn secret(&self, place: &Place<'_>) -> Option<String> {
        let name = place.string()?;
        if self.secrets.iter().any(|known| known == name) {
            return Some(name.to_owned());
        }
        let near = place.meant(name, self.secrets.iter().map(String::as_str));
        let hint = near.unwrap_or_else(|| format!("add `{name}` to `use.secrets`"));
        place.fault_with(format!("`use.secrets` has no `{name}`"), hint);
        None
    }
}

fn secrets(place: Option<Place<'_>>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for place in place.and_then(|place| place.array()).unwrap_or_default() {
        let Some(name) = place.string() else {
            continue;
        };
        if name.is_empty() || name.len() > SECRET_CHARS_MAX {
            place.fault("the name of a secret has 1 to 128 characters");
        } else if !seen.insert(name) {
            place.fault(format!("the secret `{name}` is there twice"));
        } else {
            names.push(name.to_owned());
        }
    }
    names
}
