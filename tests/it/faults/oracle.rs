//! The oracle: what was acknowledged, what is stored and what the destination got must agree.
//!
//! It knows nothing of the server but these three lists, so it can judge it. It is itself judged
//! by falsified lists, at the end.

use std::collections::{BTreeMap, BTreeSet};

/// An acknowledged delivery: the sender's id, and the event's id it was told.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub id: String,
    pub event: String,
}

/// A call that reached the destination: the sender's id in its body, and its idempotency key.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub id: String,
    pub key: String,
}

/// What the three sides have written down.
#[derive(Clone, Debug, Default)]
pub struct Journals {
    pub acknowledged: Vec<Acknowledged>,
    /// Sender's id and event's id, one for each row.
    pub stored: Vec<(String, String)>,
    pub delivered: Vec<Delivered>,
    /// Calls that may have been in flight at the faults: no more are repeated.
    pub repeats_max: usize,
}

impl Journals {
    /// Everything that is wrong, as sentences; empty where all promises were kept.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut stored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, event) in &self.stored {
            stored.entry(id).or_default().push(event);
        }
        for (id, events) in &stored {
            if events.len() > 1 {
                found.push(format!("{id} is stored {} times", events.len()));
            }
        }
        let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for call in &self.delivered {
            calls.entry(&call.id).or_default().push(&call.key);
        }
        for Acknowledged { id, event } in &self.acknowledged {
            match stored.get(id.as_str()) {
                None => found.push(format!("{id} was acknowledged and is not stored")),
                Some(events) if !events.contains(&event.as_str()) => {
                    found.push(format!(
                        "{id} was acknowledged as {event}, stored as {events:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        let mut repeats = 0;
        for id in stored.keys() {
            let keys = calls.get(id).map_or(&[][..], Vec::as_slice);
            let different: BTreeSet<_> = keys.iter().collect();
            match different.len() {
                0 => found.push(format!("{id} never reached the destination")),
                1 => repeats += keys.len() - 1,
                _ => found.push(format!("{id} was called with the keys {different:?}")),
            }
            if keys.contains(&"") {
                found.push(format!("{id} was called without a key"));
            }
        }
        for id in calls.keys().filter(|id| !stored.contains_key(*id)) {
            found.push(format!("{id} was called and is not stored"));
        }
        if repeats > self.repeats_max {
            let most = self.repeats_max;
            found.push(format!(
                "{repeats} calls were repeated, at most {most} may be"
            ));
        }
        found
    }

    /// Fails with the first violations.
    pub fn judge(&self) {
        let found = self.violations();
        let first: Vec<_> = found.iter().take(10).collect();
        assert!(found.is_empty(), "{} violations: {first:#?}", found.len());
    }
}

/// Makes good journals lie.
type Falsify = fn(&mut Journals);

/// Three events as they should be, to be falsified.
fn good() -> Journals {
    let ids = ["a", "b", "c"];
    let text = |id: &str| (id.to_owned(), format!("event-{id}"));
    Journals {
        acknowledged: ids
            .map(|id| Acknowledged {
                id: id.to_owned(),
                event: text(id).1,
            })
            .to_vec(),
        stored: ids.map(text).to_vec(),
        delivered: ids
            .map(|id| Delivered {
                id: id.to_owned(),
                key: format!("key-{id}"),
            })
            .to_vec(),
        repeats_max: 1,
    }
}

#[test]
fn the_oracle_is_content_with_what_is_right() {
    let mut journals = good();
    journals.judge();
    journals.delivered.push(journals.delivered[0].clone());
    journals.judge();
    journals.acknowledged.push(journals.acknowledged[0].clone());
    journals.judge();
}

#[test]
fn the_oracle_sees_every_falsification() {
    let falsified: [(&str, Falsify); 8] = [
        ("acknowledged and is not stored", |journals| {
            journals.stored.remove(1);
            journals.delivered.remove(1);
        }),
        ("acknowledged and is not stored", |journals| {
            journals.acknowledged.push(Acknowledged {
                id: "never-stored".to_owned(),
                event: "event-x".to_owned(),
            });
        }),
        ("stored 2 times", |journals| {
            journals.stored.push(("a".to_owned(), "event-z".to_owned()));
        }),
        ("acknowledged as", |journals| {
            journals.acknowledged[0].event = "event-b".to_owned();
        }),
        ("never reached", |journals| {
            journals.delivered.remove(2);
        }),
        ("with the keys", |journals| {
            let mut again = journals.delivered[0].clone();
            again.key = "another".to_owned();
            journals.delivered.push(again);
        }),
        ("without a key", |journals| {
            journals.delivered[1].key.clear();
        }),
        ("were repeated", |journals| {
            for _ in 0..2 {
                journals.delivered.push(journals.delivered[0].clone());
            }
        }),
    ];
    for (expected, falsify) in falsified {
        let mut journals = good();
        falsify(&mut journals);
        let found = journals.violations().join("; ");
        assert!(found.contains(expected), "{expected}: {found}");
    }
}
