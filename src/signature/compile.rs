//! From a marked document to a scheme: the grammar of `verify:`, `event:`, `handshake:` and
//! `acknowledge:`.
//!
//! Called for the catalogue's entries and for sources that bring a tree of their own; both use
//! the same words. Every fault is noted with its place, and reading goes on to find the next.

mod jwt;
mod leaf;
mod reply;
pub(super) mod words;

use super::event::Locations;
use super::template::Names;
use super::tree::Tree;
use super::{Parts, Scheme};
use crate::workflow::document::Place;
pub use leaf::TOLERANCE_S_MAX;
pub(super) use reply::acknowledgement;
use words::{all, filled};

/// How deep trees may nest.
const DEPTH_MAX: usize = 8;

/// Reads the parts of a scheme; None where a fault was noted.
pub(super) fn scheme(parts: &Parts<'_>, mut names: Names) -> Option<Scheme> {
    let tree = tree(&parts.verify, &mut names, 0);
    let event = optional(parts.event.as_ref(), |place| {
        Locations::read(place, &mut names)
    });
    let handshakes = optional(parts.handshake.as_ref(), |place| {
        reply::handshakes(place, &mut names)
    });
    let acknowledgement = match &parts.acknowledge {
        None => Some(None),
        Some(place) => reply::acknowledgement(place).map(Some),
    };
    Some(Scheme {
        name: None,
        tree: tree?,
        event: event?,
        handshakes: handshakes?,
        acknowledgement: acknowledgement?,
        quiet: false,
        names,
    })
}

fn optional<T: Default>(
    place: Option<&Place<'_>>,
    read: impl FnOnce(&Place<'_>) -> Option<T>,
) -> Option<T> {
    place.map_or_else(|| Some(T::default()), read)
}

fn tree(place: &Place<'_>, names: &mut Names, depth: usize) -> Option<Tree> {
    if depth == DEPTH_MAX {
        place.fault(format!("trees may not nest deeper than {DEPTH_MAX} levels"));
        return None;
    }
    let object = place.object()?;
    for (word, make) in [
        ("any", Tree::Any as fn(Vec<Tree>) -> Tree),
        ("first", Tree::First),
        ("all", Tree::All),
    ] {
        if let Some(branches) = object.optional(word) {
            object.finish();
            let branches = filled(&branches)?;
            let trees = branches.iter().map(|branch| tree(branch, names, depth + 1));
            return all(trees).map(make);
        }
    }
    let leaf = leaf::leaf(&object, names);
    object.finish();
    leaf
}
