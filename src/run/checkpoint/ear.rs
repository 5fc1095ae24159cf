//! What a `listen` holds, in a checkpoint; and the addressed events that a run keeps.

use serde::{Deserialize, Serialize};

use super::restore::{Unfit, unfit};
use super::values::{Table, Values};
use super::{Place, Standing};
use crate::expression::Value;
use crate::id::Id;
use crate::run::frame::{Frame, List};
use crate::run::task::listen::{Ear, nest};
use crate::run::{Received, Run};
use crate::workflow::definition::Listen;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredEar {
    expected: Vec<Vec<Option<Place>>>,
    learnt: Vec<(String, Place)>,
    met: Vec<bool>,
    waiting: Vec<Place>,
    events: Vec<Place>,
    consumed: usize,
    closed: bool,
    /// The event that `foreach.do` is at work on, and where that stands.
    each: Option<(Place, Standing)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredEvent {
    id: Id,
    envelope: Place,
    raw: Option<Place>,
}

pub(super) fn stored<'a>(ear: &'a Ear, values: &mut Values<'a>) -> StoredEar {
    let mut expected = Vec::with_capacity(ear.expected.len());
    for filter in &ear.expected {
        let place = |value: &'a Option<Value>| value.as_ref().map(|value| values.place(value));
        expected.push(filter.iter().map(place).collect());
    }
    let learnt = ear.learnt.iter();
    StoredEar {
        expected,
        learnt: learnt
            .map(|(name, value)| (name.clone(), values.place(value)))
            .collect(),
        met: ear.met.clone(),
        waiting: ear.waiting.iter().map(|it| values.place(it)).collect(),
        events: ear.events.iter().map(|it| values.place(it)).collect(),
        consumed: ear.consumed,
        closed: ear.closed,
        each: ear
            .each
            .as_ref()
            .map(|(item, list)| (values.place(item), list.position())),
    }
}

pub(super) fn restored(
    frame: &Frame,
    task: &Listen,
    stored: &StoredEar,
    table: &Table,
) -> Result<Ear, Unfit> {
    let count = task.to.all_filters().count();
    if stored.expected.len() != count || stored.met.len() != count {
        return Err(unfit("a listen has other filters"));
    }
    let all = |places: &[Place]| -> Result<Vec<Value>, Unfit> {
        places.iter().map(|place| table.get(*place)).collect()
    };
    let expected = stored.expected.iter().map(|values| table.each(values));
    let learnt = stored
        .learnt
        .iter()
        .map(|(name, place)| Ok((name.clone(), table.get(*place)?)));
    let events = all(&stored.events)?;
    let each = match (&stored.each, &task.foreach) {
        (None, _) => None,
        (Some((item, at)), Some(each)) => {
            let item = table.get(*item)?;
            let list = List::new(
                nest(frame, each, events.len(), item.clone()),
                frame.depth + 1,
            );
            Some((item, super::restore::standing(list, &each.body, *at)?))
        }
        (Some(_), None) => return Err(unfit("a listen has no `foreach`")),
    };
    Ok(Ear {
        expected: expected.collect::<Result<_, _>>()?,
        learnt: learnt.collect::<Result<_, Unfit>>()?,
        met: stored.met.clone(),
        waiting: all(&stored.waiting)?.into(),
        events,
        consumed: stored.consumed,
        closed: stored.closed,
        each,
    })
}

pub(super) fn kept<'a>(run: &'a Run, values: &mut Values<'a>) -> Vec<StoredEvent> {
    let event = |event: &'a Received| StoredEvent {
        id: event.id,
        envelope: values.place(&event.envelope),
        raw: event.raw.as_ref().map(|raw| values.place(raw)),
    };
    run.kept.iter().map(event).collect()
}

pub(super) fn keep(run: &mut Run, stored: &[StoredEvent], table: &Table) -> Result<(), Unfit> {
    for event in stored {
        run.kept.push_back(Received {
            id: event.id,
            addressed: true,
            envelope: table.get(event.envelope)?,
            raw: event.raw.map(|raw| table.get(raw)).transpose()?,
        });
    }
    Ok(())
}
