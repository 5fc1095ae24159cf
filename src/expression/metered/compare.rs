//! jq's order and equality, counted: comparing is where sorting and searching spend their time.

use std::cmp::Ordering;

use jaq_json::{Map, Val};

use super::{ITEM_BYTES, MEMBER_BYTES, Metered, size};
use crate::expression::budget::{charge, scan, tick};

/// jq's order: null, booleans, numbers, strings, arrays, objects.
pub(in crate::expression) fn compare(a: &Val, b: &Val) -> Ordering {
    tick();
    match (a, b) {
        (Val::Arr(x), Val::Arr(y)) => {
            let pairs = x.iter().zip(y.iter());
            let first = pairs
                .map(|(x, y)| compare(x, y))
                .find(|order| order.is_ne());
            first.unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (Val::Obj(x), Val::Obj(y)) => compare_objects(x, y),
        _ => {
            scan(size(a).min(size(b)));
            a.cmp(b)
        }
    }
}

/// First by the sorted names, then by the values in that order.
fn compare_objects(x: &Map, y: &Map) -> Ordering {
    let sorted = |members: &Map| {
        charge(members.len() * ITEM_BYTES);
        scan(members.len() * MEMBER_BYTES);
        let mut sorted: Vec<_> = members
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        sorted.sort_by(|(x, _), (y, _)| x.cmp(y));
        sorted
    };
    let (x, y) = (sorted(x), sorted(y));
    let names = x.iter().map(|(k, _)| k).cmp(y.iter().map(|(k, _)| k));
    names.then_with(|| {
        let pairs = x.iter().zip(y.iter());
        let first = pairs
            .map(|((_, x), (_, y))| compare(x, y))
            .find(|order| order.is_ne());
        first.unwrap_or(Ordering::Equal)
    })
}

/// jq's equality, counted.
pub(in crate::expression) fn equal(a: &Val, b: &Val) -> bool {
    tick();
    match (a, b) {
        (Val::Arr(x), Val::Arr(y)) => {
            x.len() == y.len() && x.iter().zip(y.iter()).all(|(x, y)| equal(x, y))
        }
        (Val::Obj(x), Val::Obj(y)) => {
            x.len() == y.len() && x.iter().all(|(k, x)| y.get(k).is_some_and(|y| equal(x, y)))
        }
        _ => {
            scan(size(a).min(size(b)));
            a == b
        }
    }
}

impl PartialEq for Metered {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Metered {}

impl PartialOrd for Metered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Metered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}
