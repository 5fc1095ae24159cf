//! The table of values of a checkpoint: each array and object once, however many tasks hold it.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::Place;
use super::restore::{Unfit, unfit};
use crate::expression::Value;

/// Values on their way into a checkpoint. The first is known elsewhere and not written.
pub(super) struct Values<'a> {
    values: Vec<&'a Value>,
    known: HashMap<usize, Place>,
}

impl<'a> Values<'a> {
    /// A table whose first value is not written.
    pub(super) fn beginning_with(first: &'a Value) -> Self {
        let mut table = Self {
            values: Vec::new(),
            known: HashMap::new(),
        };
        table.place(first);
        table
    }

    /// The place of a value; what is shared in memory has one place.
    pub(super) fn place(&mut self, value: &'a Value) -> Place {
        let next = Place::try_from(self.values.len()).unwrap_or(Place::MAX);
        if let Some(identity) = value.identity() {
            let place = *self.known.entry(identity).or_insert(next);
            if place != next {
                return place;
            }
        }
        self.values.push(value);
        next
    }

    /// Writes all but the first; none where JSON cannot say one of them.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        out.push(b'[');
        for (index, value) in self.values.iter().skip(1).enumerate() {
            if !value.has_json_form() {
                return None;
            }
            if index > 0 {
                out.push(b',');
            }
            value.write_json(out);
        }
        out.push(b']');
        Some(())
    }
}

/// The values of a stored checkpoint.
pub(super) struct Table(Vec<Value>);

impl Table {
    /// The values that stand behind `first`.
    pub(super) fn read(first: Value, stored: &[&RawValue]) -> Result<Self, Unfit> {
        /// As deep as reading goes: these values were within the limits when they were made.
        const DEPTH_MAX: usize = 1_000;
        let mut values = Vec::with_capacity(stored.len() + 1);
        values.push(first);
        for value in stored {
            let value = Value::from_json_deep(value.get().as_bytes(), DEPTH_MAX);
            values.push(value.map_err(|error| unfit(error.to_string()))?);
        }
        Ok(Self(values))
    }

    pub(super) fn get(&self, place: Place) -> Result<Value, Unfit> {
        let value = usize::try_from(place).ok().and_then(|at| self.0.get(at));
        value.cloned().ok_or_else(|| unfit("a value is missing"))
    }

    pub(super) fn each(&self, places: &[Option<Place>]) -> Result<Vec<Option<Value>>, Unfit> {
        let get = |place: &Option<Place>| place.map(|place| self.get(place)).transpose();
        places.iter().map(get).collect()
    }
}
