//! Where a sender writes what happened: the id, type, subject and time of an event.
//!
//! Read from `event:` of a catalogue entry or source, evaluated by `Scheme::facts`. A fact that is
//! blank, ambiguous, too long or holds control characters is absent: it goes into keys, rows and
//! routes, where none of those belongs.

use super::compile::words::{filled_texts, templates};
use super::elements::Batch;
use super::template::{Names, Scope, Template};
use super::view::View;
use crate::workflow::document::Place;

/// Longest fact, in bytes; a longer one is absent.
const FACT_BYTES_MAX: usize = 512;

/// What a delivery says about its event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The sender's id of the event or delivery.
    pub event_id: Option<String>,
    /// What is the same for deliveries of one event: the sender's own id for that, else
    /// `event_id`.
    pub dedupe_id: Option<String>,
    /// The sender's event type, without the provider's name.
    pub kind: Option<String>,
    /// What the event is about.
    pub subject: Option<String>,
    /// When it happened, as the sender writes it.
    pub occurred_at: Option<String>,
    /// Which attempt of the sender this delivery is, as the sender counts.
    pub attempt: Option<String>,
    /// Attributes the source maps, in their order; those that are absent are left out.
    pub attributes: Vec<(String, String)>,
}

/// Alternatives for one fact: the first template whose parts are all present counts.
type Alternatives = Vec<Template>;

/// A compiled `event:`.
#[derive(Clone, Debug, Default)]
pub(super) struct Locations {
    /// Where the elements stand, if the sender puts several events into one delivery; the first
    /// of them that the body has counts.
    pub batch: Vec<Batch>,
    id: Alternatives,
    dedupe_id: Alternatives,
    kind: Alternatives,
    subject: Alternatives,
    occurred_at: Alternatives,
    attempt: Alternatives,
    attributes: Vec<(String, Alternatives)>,
}

impl Locations {
    pub fn read(place: &Place<'_>, names: &mut Names) -> Option<Self> {
        let object = place.object()?;
        let batch = object.optional("batch");
        let batch = batch.map_or_else(|| Some(Vec::new()), |place| batches(&place));
        let mut location = |name| match object.optional(name) {
            None => Some(Vec::new()),
            Some(place) => templates(&place, names),
        };
        let locations = Self {
            id: location("id")?,
            dedupe_id: location("dedupeId")?,
            kind: location("type")?,
            subject: location("subject")?,
            occurred_at: location("occurredAt")?,
            attempt: location("attempt")?,
            attributes: Vec::new(),
            batch: Vec::new(),
        };
        object.finish();
        Some(Self {
            batch: batch?,
            ..locations
        })
    }

    /// Adds the attributes a source maps.
    pub fn map(&mut self, place: &Place<'_>, names: &mut Names) -> Option<()> {
        for (key, place) in place.object()?.members() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            if key.name.is_empty() || key.name.len() > 20 || !key.name.chars().all(plain) {
                let hint = "CloudEvents attribute names are 1 to 20 of a–z and 0–9";
                place.fault_with(format!("`{}` is no attribute name", key.name), hint);
                continue;
            }
            let alternatives = templates(&place, names)?;
            self.attributes.push((key.name.clone(), alternatives));
        }
        Some(())
    }

    /// The headers that hold the event's id, where a header does.
    pub fn id_header(&self) -> Option<&http::HeaderName> {
        self.id.first()?.sole_header()?.first()
    }

    pub fn facts(&self, view: &View<'_>, scope: &Scope<'_>) -> Facts {
        let fact = |alternatives: &Alternatives| fact(alternatives, view, scope);
        let event_id = fact(&self.id);
        let attributes = self.attributes.iter();
        Facts {
            dedupe_id: fact(&self.dedupe_id).or_else(|| event_id.clone()),
            event_id,
            kind: fact(&self.kind),
            subject: fact(&self.subject),
            occurred_at: fact(&self.occurred_at),
            attempt: fact(&self.attempt),
            attributes: attributes
                .filter_map(|(name, value)| Some((name.clone(), fact(value)?)))
                .collect(),
        }
    }
}

fn batches(place: &Place<'_>) -> Option<Vec<Batch>> {
    let texts = filled_texts(place)?.into_iter().map(|text| {
        let batch = Batch::parse(text);
        if batch.is_none() {
            let hint = "write `/events/*`, `/*`, `lines`, or `xml:/Envelope/Item`";
            place.fault_with(format!("`{text}` says not where elements stand"), hint);
        }
        batch
    });
    texts.collect()
}

fn fact(alternatives: &[Template], view: &View<'_>, scope: &Scope<'_>) -> Option<String> {
    let texts = alternatives.iter();
    let mut texts = texts.filter_map(|template| template.text(view, scope));
    texts.find(|text| {
        !text.trim().is_empty()
            && text.len() <= FACT_BYTES_MAX
            && !text.chars().any(char::is_control)
    })
}
