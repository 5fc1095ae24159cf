//! Sources: where webhooks come from, how each proves itself, and what its events are called.
//!
//! A `source:` document names a provider of the catalogue or brings a `verify:` tree of its own.
//! [`parse`] reads and checks it; [`Sources`] holds those in force; [`Source::admit`] decides about
//! one delivery, purely.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode, header};
use secrecy::ExposeSecret;

use super::Rejection;
use crate::call::reference::reference;
use crate::event::{DedupeKey, Event};
use crate::id::Id;
use crate::secret::{REDACTED, Reference, Secrets};
use crate::signature::{self, Delivery, Facts, Keys, Parts, Received, Scheme};
use crate::store::{NewEvent, WINDOW_DAYS_MAX};
use crate::workflow::document::{self, Fault, Faults, Object, Place};

/// Days within which a repeated id is a duplicate, where a source does not say.
const WINDOW_DAYS_DEFAULT: u16 = 7;

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// Secrets that may be in force at once while rotating.
const ROTATION_MAX: usize = 8;

/// A checked source.
#[derive(Debug)]
pub struct Source {
    /// Its name: `/hooks/<name>`.
    pub name: String,
    /// First part of its events' types; absent for a source without a provider.
    pub provider: Option<String>,
    /// The URL as registered with the sender, where its signature covers it.
    pub url: Option<String>,
    scheme: Scheme,
    secrets: Vec<(String, Vec<Reference>)>,
    window_days: u16,
    masked: HashSet<HeaderName>,
}

/// The sources in force.
pub struct Sources {
    table: ArcSwap<HashMap<String, Arc<Admission>>>,
    secrets: Arc<Secrets>,
}

/// A source with what resolves its secrets.
pub struct Admission {
    source: Source,
    secrets: Arc<Secrets>,
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
    /// It was a question; this is the answer.
    Handshake(Response),
}

impl Sources {
    /// No sources yet.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>) -> Self {
        Self {
            table: ArcSwap::default(),
            secrets,
        }
    }

    /// Puts these sources in force, in place of all others.
    pub fn replace(&self, sources: Vec<Source>) {
        let table = sources.into_iter().map(|source| {
            let secrets = Arc::clone(&self.secrets);
            (source.name.clone(), Arc::new(Admission { source, secrets }))
        });
        self.table.store(Arc::new(table.collect()));
    }

    /// The source of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Admission>> {
        self.table.load().get(name).cloned()
    }
}

impl Keys for Admission {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let references = self
            .source
            .secrets
            .iter()
            .find(|(secret, _)| secret == name);
        let references = references.map_or(&[][..], |(_, references)| references);
        let values = references
            .iter()
            .filter_map(|reference| self.secrets.resolve(reference));
        values
            .map(|value| value.expose_secret().as_bytes().to_vec())
            .collect()
    }
}

impl Admission {
    /// Verifies a delivery and makes the event of it.
    ///
    /// # Errors
    /// The check that failed.
    pub fn admit(&self, delivery: &Delivery<'_>) -> Result<Admitted, Rejection> {
        match self
            .source
            .scheme
            .receive(delivery, self)
            .map_err(Rejection::Signature)?
        {
            Received::Handshake(answer) => Ok(Admitted::Handshake(response(answer))),
            Received::Event { facts, .. } => {
                Ok(Admitted::Event(Box::new(self.event(delivery, facts))))
            }
        }
    }

    /// The answer this sender wants for a stored event, where it wants a literal one.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<Response> {
        self.source.scheme.acknowledgement().cloned().map(response)
    }

    fn event(&self, delivery: &Delivery<'_>, facts: Facts) -> NewEvent {
        let source = format!("/hooks/{}", self.source.name);
        let method = delivery.method.as_str();
        let key = match facts.dedupe_id.as_deref().or(facts.event_id.as_deref()) {
            Some(id) => DedupeKey::new(&source, id),
            None => DedupeKey::of_content(&source, method, delivery.path_and_query, delivery.body),
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
            body: delivery.body.clone(),
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
    let content_type = answer
        .content_type
        .map(|media| [(header::CONTENT_TYPE, media)]);
    match content_type {
        Some(content_type) => (status, content_type, answer.body).into_response(),
        None => (status, answer.body).into_response(),
    }
}

/// Reads a `source:` document.
///
/// # Errors
/// Every fault, each with its place.
pub fn parse(text: &str) -> Result<Source, Vec<Fault>> {
    let node = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let source = Place::root(&node, &faults).object().and_then(read);
    faults.result(source)
}

fn read(object: Object<'_>) -> Option<Source> {
    let name = object.required("source").and_then(|place| name(&place));
    let provider = object.optional_string("provider");
    let scheme = scheme(&object, provider);
    let url = object.optional("url").and_then(|place| url(&place));
    let window_days = window(&object);
    let secrets = secrets(&object, scheme.as_ref());
    object.finish();
    let (name, scheme) = (name?, scheme?);
    let masked = scheme.credential_headers().into_iter().collect();
    Some(Source {
        name,
        provider: provider.map(str::to_owned),
        url,
        scheme,
        secrets,
        window_days,
        masked,
    })
}

/// A name that can stand in a path as it is.
fn name(place: &Place<'_>) -> Option<String> {
    let name = place.string()?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(good) {
        place.fault_with(
            format!("{name:?} cannot be the name of a source"),
            "use 1 to 63 letters, digits, `-`, `_` and `.`; it becomes the path /hooks/<name>",
        );
        return None;
    }
    Some(name.to_owned())
}

fn url(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Some(text.to_owned()),
        _ => {
            place.fault_with(
                "this is no http or https URL",
                "give the URL registered with the sender",
            );
            None
        }
    }
}

fn scheme(object: &Object<'_>, provider: Option<&str>) -> Option<Scheme> {
    let verify = object.optional("verify");
    let event = object.optional("event");
    let attributes = object.optional("attributes");
    let mut scheme = match (provider, verify) {
        (Some(_), Some(verify)) => {
            verify.fault_with(
                "a source has a provider or a `verify` of its own, not both",
                "remove one",
            );
            return None;
        }
        (Some(provider), None) => known(object, provider)?,
        (None, Some(verify)) if verify.node().as_str() == Some("none") => Scheme::unverified(),
        (None, Some(verify)) => {
            let parts = Parts {
                verify,
                event: None,
                handshake: None,
                acknowledge: None,
            };
            Scheme::compile(&parts)?
        }
        (None, None) => {
            object.place().fault_with(
                "the source does not say how its deliveries are verified",
                format!(
                    "add `provider:` (one of {}) or `verify:`",
                    Scheme::providers().join(", ")
                ),
            );
            return None;
        }
    };
    if let Some(event) = event {
        scheme = scheme.with_event(&event)?;
    }
    if let Some(attributes) = attributes {
        scheme = scheme.with_attributes(&attributes)?;
    }
    Some(scheme)
}

fn known(object: &Object<'_>, provider: &str) -> Option<Scheme> {
    let scheme = Scheme::provider(provider).cloned();
    if scheme.is_none()
        && let Some(place) = object.optional("provider")
    {
        let names = Scheme::providers();
        let nearest = document::nearest(provider, names.iter().copied());
        let hint = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("the catalogue has {}", names.join(", ")),
        };
        place.fault_with(
            format!("there is no provider {provider:?} in the catalogue"),
            hint,
        );
    }
    scheme
}

/// `dedupe.window` in whole days, rounded up.
fn window(object: &Object<'_>) -> u16 {
    let Some(dedupe) = object.optional_object("dedupe") else {
        return WINDOW_DAYS_DEFAULT;
    };
    let window = dedupe.optional("window");
    let days = window.and_then(|place| {
        let days = place.duration()?.as_secs().div_ceil(DAY_S);
        let days = u16::try_from(days)
            .ok()
            .filter(|days| (1..=WINDOW_DAYS_MAX).contains(days));
        if days.is_none() {
            let most = format!("use P1D to P{WINDOW_DAYS_MAX}D");
            place.fault_with("the window for duplicates is out of bounds", most);
        }
        days
    });
    dedupe.finish();
    days.unwrap_or(WINDOW_DAYS_DEFAULT)
}

fn secrets(object: &Object<'_>, scheme: Option<&Scheme>) -> Vec<(String, Vec<Reference>)> {
    let mut secrets = Vec::new();
    let single = object.optional("secret");
    let several = object.optional_object("secrets");
    let Some(scheme) = scheme else { return secrets };
    if let Some(place) = single {
        match scheme.secret_names().first() {
            Some(name) => secrets.push((name.clone(), rotation(&place))),
            None => place.fault("this source needs no secret"),
        }
    }
    if let Some(several) = several {
        for (key, place) in several.members() {
            if scheme.secret_names().contains(&key.name) {
                secrets.push((key.name.clone(), rotation(&place)));
            } else {
                let known = scheme.secret_names().iter().map(String::as_str);
                let hint = document::nearest(&key.name, known)
                    .map(|name| format!("did you mean `{name}`?"));
                several.unknown(key, hint);
            }
        }
    }
    if secrets.is_empty() && scheme.is_verifying() {
        object.place().fault_with(
            "the source has no secret to verify with",
            "add `secret: { env: NAME }`, `{ file: PATH }` or `{ secret: name }`",
        );
    }
    secrets
}

/// One reference, or a list of them while rotating, newest first.
fn rotation(place: &Place<'_>) -> Vec<Reference> {
    if !matches!(place.node().content, document::Content::Array(_)) {
        return reference(place).into_iter().collect();
    }
    let places = place.array().unwrap_or_default();
    if places.is_empty() || places.len() > ROTATION_MAX {
        place.fault(format!("give 1 to {ROTATION_MAX} secrets, newest first"));
    }
    places
        .iter()
        .take(ROTATION_MAX)
        .filter_map(reference)
        .collect()
}
