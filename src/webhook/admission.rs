//! What becomes of one delivery of a source: verified, and made into events.
//!
//! Called by the door with everything fetched that verification needs; purely a decision. One
//! delivery can hold many events, each with a key of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use secrecy::ExposeSecret;

use super::cloudevents::{self, Cloud};
use super::documents::Held;
use super::gate::Limiter;
use super::{Rejection, Source};
use crate::event::{DedupeKey, Event};
use crate::id::Id;
use crate::secret::{REDACTED, Secrets};
use crate::signature::{self, Action, Cause, Delivery, Facts, Keys, Received, SignError, Verified};
use crate::store::NewEvent;
use crate::trigger::REPLAY_OF;

/// The provider whose deliveries are CloudEvents; their types are the events' own.
const CLOUD_EVENTS: &str = "cloudevents";

/// The extension attribute that says which secret matched, while there are several: its name and
/// its place in the list, 0 being the newest.
pub const VERIFIED_WITH: &str = "verifiedwith";

/// Attributes that no sender can set.
pub const RESERVED: [&str; 2] = [VERIFIED_WITH, REPLAY_OF];

/// A source with what resolves its secrets.
pub struct Admission {
    pub(super) source: Source,
    pub(super) secrets: Arc<Secrets>,
    pub(super) limiter: Option<Arc<Limiter>>,
}

impl std::ops::Deref for Admission {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.source
    }
}

/// What becomes of a genuine delivery.
pub enum Admitted {
    /// It goes into the log.
    Event(Box<NewEvent>),
    /// Several go into the log; or none, where the sender says that nothing happened.
    Batch(Vec<NewEvent>),
    /// It was a question; this is the answer, once the action is done.
    Handshake(Response, Option<Action>),
}

/// The secrets of a source and the documents for one delivery.
struct Live<'a> {
    admission: &'a Admission,
    documents: &'a Held,
}

impl Keys for Live<'_> {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.admission.values(name)
    }

    fn document(&self, url: &str) -> Option<Bytes> {
        let found = self.documents.iter().find(|(known, _)| known == url);
        found.map(|(_, body)| body.clone())
    }
}

impl Keys for Admission {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let named = self
            .source
            .secrets
            .iter()
            .find(|(secret, _)| secret == name);
        if let Some((_, references)) = named {
            let references = references.iter();
            let values = references.filter_map(|reference| self.secrets.resolve(reference));
            return values
                .map(|value| value.expose_secret().as_bytes().to_vec())
                .collect();
        }
        let named = self
            .source
            .parameters
            .iter()
            .find(|(parameter, _)| parameter == name);
        let values = named.map_or(&[][..], |(_, values)| values).iter();
        values.map(|value| value.clone().into_bytes()).collect()
    }
}

impl Admission {
    /// What must be fetched before [`Admission::admit`] can decide; usually nothing.
    #[must_use]
    pub fn needed(&self, delivery: &Delivery<'_>) -> Vec<String> {
        if self.source.scheme.needs_documents() {
            self.source.scheme.documents(delivery, self)
        } else {
            Vec::new()
        }
    }

    /// Verifies a delivery and makes the events of it.
    ///
    /// # Errors
    /// The check that failed.
    pub fn admit(&self, delivery: &Delivery<'_>, documents: &Held) -> Result<Admitted, Rejection> {
        let admission = self;
        let live = Live {
            admission,
            documents,
        };
        let received = self.source.scheme.receive(delivery, &live);
        match received.map_err(Rejection::Signature)? {
            Received::Handshake {
                action: Some(Action::Store { ref name, .. }),
                ..
            } if !self.is_pending(name) => {
                // Whoever asks now is not the one the registration was opened for.
                Err(Rejection::Signature(Cause::SignatureMissing))
            }
            Received::Handshake {
                response: answer,
                action,
            } => Ok(Admitted::Handshake(response(answer), action)),
            Received::Event { facts, verified } => {
                if let Some(events) = self.cloud_events(delivery, &verified) {
                    return Ok(Admitted::Batch(events));
                }
                let body = delivery.body.clone();
                let facts = self.with_secret(facts, &verified);
                let event = self.event(delivery, facts, (body, None));
                Ok(Admitted::Event(Box::new(event)))
            }
            Received::Batch { elements, verified } => {
                let elements = elements.into_iter().enumerate();
                let events = elements.map(|(place, (body, facts))| {
                    let facts = self.with_secret(facts, &verified);
                    self.event(delivery, facts, (body, Some(place)))
                });
                Ok(Admitted::Batch(events.collect()))
            }
        }
    }

    /// The headers that make a sample genuine, by the newest secret.
    ///
    /// # Errors
    /// Why it cannot be signed.
    pub fn sign(&self, delivery: &Delivery<'_>) -> Result<HeaderMap, SignError> {
        self.source.scheme.sign(delivery, self)
    }

    /// The answer this sender wants for a stored event, where it wants a literal one.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<Response> {
        let own = self.source.response.as_ref();
        let answer = own.or_else(|| self.source.scheme.acknowledgement());
        answer.cloned().map(response)
    }

    /// The name in the database under which a secret that is sent may be kept: only while the
    /// source waits for it.
    #[must_use]
    pub fn capture_name(&self, secret: &str) -> Option<&str> {
        let named = self
            .source
            .secrets
            .iter()
            .find(|(name, _)| name == secret)?;
        match named.1.as_slice() {
            [crate::secret::Reference::Sealed { name, member: None }] => Some(name),
            _ => None,
        }
    }

    fn is_pending(&self, secret: &str) -> bool {
        self.source.registration_pending
            && self.capture_name(secret).is_some()
            && self.values(secret).is_empty()
    }

    /// The events of a delivery that is CloudEvents, where the source says that it sends them.
    fn cloud_events(&self, delivery: &Delivery<'_>, verified: &Verified) -> Option<Vec<NewEvent>> {
        if self.source.provider.as_deref() != Some(CLOUD_EVENTS) {
            return None;
        }
        let events = cloudevents::read(delivery.headers, delivery.body)?;
        let source = format!("/hooks/{}", self.source.name);
        let new = |cloud: Cloud| {
            let id = format!("{}+{}", cloud.source, cloud.id);
            let mut attributes = cloud.attributes;
            // Ours says where the event came in; a sender cannot pass for another source.
            attributes.insert("origin".to_owned(), cloud.source);
            RESERVED
                .iter()
                .for_each(|name| drop(attributes.remove(*name)));
            attributes.extend(self.matched(verified));
            NewEvent {
                key: DedupeKey::new(&source, &id),
                event: Event {
                    id: Id::generate(),
                    event_id: cloud.id,
                    kind: cloud.kind,
                    source: source.clone(),
                    attributes,
                    content_type: cloud.content_type,
                    headers: self.source.headers(delivery),
                    body: cloud.data,
                },
                window_days: self.source.window_days,
                target: None,
            }
        };
        Some(events.into_iter().map(new).collect())
    }

    /// Says which secret matched, where there are several: while one is replaced, whether the
    /// sender uses the new one already.
    fn with_secret(&self, mut facts: Facts, verified: &Verified) -> Facts {
        facts.attributes.extend(self.matched(verified));
        facts
    }

    fn matched(&self, verified: &Verified) -> Option<(String, String)> {
        let candidates = self.source.secrets.iter().map(|(_, values)| values.len());
        if candidates.sum::<usize>() < 2 {
            return None;
        }
        let name = verified.secret_name.as_deref()?;
        let said = format!("{name}/{}", verified.secret_index);
        Some((VERIFIED_WITH.to_owned(), said))
    }

    /// `place` is that of an element in its batch.
    fn event(
        &self,
        delivery: &Delivery<'_>,
        facts: Facts,
        (body, place): (Bytes, Option<usize>),
    ) -> NewEvent {
        let source = format!("/hooks/{}", self.source.name);
        let method = delivery.method.as_str();
        let path = delivery.path_and_query;
        let key = match (
            facts.dedupe_id.as_deref().or(facts.event_id.as_deref()),
            place,
        ) {
            (Some(id), _) => DedupeKey::new(&source, id),
            (None, None) => DedupeKey::of_content(&source, method, path, delivery.body),
            // Equal elements are two events, the same delivery sent again is none.
            (None, Some(place)) => {
                let path = format!("{path}#{place}");
                DedupeKey::of_content(&source, method, &path, delivery.body)
            }
        };
        let id = Id::generate();
        let event = Event {
            id,
            event_id: facts.event_id.unwrap_or_else(|| id.to_string()),
            kind: self.source.kind(facts.kind),
            source,
            attributes: attributes(facts.subject, facts.occurred_at, facts.attributes),
            content_type: text(delivery.headers.get(header::CONTENT_TYPE)),
            headers: self.source.headers(delivery),
            body,
        };
        NewEvent {
            event,
            key,
            window_days: self.source.window_days,
            target: None,
        }
    }
}

impl Source {
    /// The event's type: the provider's name and the sender's own type.
    fn kind(&self, kind: Option<String>) -> String {
        let kind = kind.unwrap_or_else(|| "event".to_owned());
        match &self.provider {
            Some(provider) => format!("{provider}.{kind}"),
            None => kind,
        }
    }

    fn headers(&self, delivery: &Delivery<'_>) -> Vec<(String, String)> {
        let line = |(name, value): (&HeaderName, &http::HeaderValue)| {
            let hidden = self.masked.contains(name);
            let value = if hidden {
                REDACTED.into()
            } else {
                lossy(value)
            };
            (name.as_str().to_owned(), value)
        };
        delivery.headers.iter().map(line).collect()
    }
}

fn lossy(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn text(value: Option<&http::HeaderValue>) -> Option<String> {
    value
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn attributes(
    subject: Option<String>,
    time: Option<String>,
    mapped: Vec<(String, String)>,
) -> BTreeMap<String, String> {
    let mut attributes: BTreeMap<_, _> = mapped.into_iter().collect();
    if let Some(subject) = subject {
        attributes.entry("subject".to_owned()).or_insert(subject);
    }
    // CloudEvents wants RFC 3339; another spelling of the sender's stays in its body.
    if let Some(time) = time.filter(|time| time.parse::<jiff::Timestamp>().is_ok()) {
        attributes.entry("time".to_owned()).or_insert(time);
    }
    attributes
}

fn response(answer: signature::Response) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.extend(answer.headers);
    if let Some(media) = answer.content_type.and_then(|media| media.parse().ok()) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    response
}
