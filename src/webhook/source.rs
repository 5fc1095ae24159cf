//! Sources: where webhooks come from, how each proves itself, and what its events are called.
//!
//! A `source:` document names a provider of the catalogue or brings a `verify:` tree of its own.
//! [`parse`] reads and checks it; [`Sources`] holds those in force; what becomes of a delivery is
//! in `admission`.

mod intake;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

use super::Admission;
use super::admission::RESERVED;
use super::gate::Limiter;
use crate::call::reference::reference;
use crate::secret::{Reference, Secrets};
use crate::signature::{Acknowledgement, Parts, Scheme, TOLERANCE_S_MAX};
use crate::store::WINDOW_DAYS_MAX;
use crate::trigger::Screen;
use crate::workflow::document::{self, Content, Fault, Faults, Object, Place};

pub use intake::{BODY_BYTES_MAX, Intake, Rate, network};

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
    /// What it takes in.
    pub intake: Intake,
    pub(super) scheme: Scheme,
    pub(super) secrets: Vec<(String, Vec<Reference>)>,
    pub(super) parameters: Vec<(String, Vec<String>)>,
    /// What the path must have after the source's name, where the endpoint is to be unguessable.
    pub(super) path_token: Option<Reference>,
    /// The methods taken; all where none is named.
    pub(super) methods: Vec<String>,
    /// The media types taken; all where none is named.
    pub(super) content_types: Vec<String>,
    /// The answer for stored events, in place of the provider's.
    pub(super) response: Option<Acknowledgement>,
    /// Whether the sender may still send its secret.
    pub(super) registration_pending: bool,
    pub(super) window_days: u16,
    pub(super) masked: HashSet<HeaderName>,
}

/// The sources in force.
pub struct Sources {
    table: ArcSwap<HashMap<String, Arc<Admission>>>,
    secrets: Arc<Secrets>,
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
        let before = self.table.load();
        let table = sources.into_iter().map(|source| {
            let secrets = Arc::clone(&self.secrets);
            let name = source.name.clone();
            let known = before.get(&name).and_then(|known| known.limiter.clone());
            // A change elsewhere must not give everybody a fresh burst.
            let limiter = source.intake.rate.and_then(|rate| {
                let known = known.filter(|known| known.is_for(rate));
                known.or_else(|| Limiter::new(rate).map(Arc::new))
            });
            let admission = Admission {
                source,
                secrets,
                limiter,
            };
            (name, Arc::new(admission))
        });
        self.table.store(Arc::new(table.collect()));
    }

    /// The source of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Admission>> {
        self.table.load().get(name).cloned()
    }
}

impl Source {
    /// Whether refusals have no body.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.scheme.is_quiet()
    }

    /// How many secrets are in force, and what the one at this place of this name is called where
    /// it lives; never its value.
    #[must_use]
    pub fn secret(&self, name: &str, place: usize) -> (usize, Option<&Reference>) {
        let named = self.secrets.iter().find(|(known, _)| known == name);
        let references = named.map_or(&[][..], |(_, references)| references);
        (references.len(), references.get(place))
    }

    /// The name of the only secret, where nothing else can have matched.
    #[must_use]
    pub fn only_secret(&self) -> Option<&str> {
        match self.secrets.as_slice() {
            [(name, references)] if references.len() == 1 && !self.scheme.needs_documents() => {
                Some(name)
            }
            _ => None,
        }
    }

    /// What it says of its events, where it says anything.
    #[must_use]
    pub fn screen(&self) -> Option<Screen> {
        let Intake { paused, filter, .. } = &self.intake;
        (*paused || filter.is_some()).then(|| Screen {
            source: format!("/hooks/{}", self.name),
            paused: *paused,
            filter: filter.clone(),
        })
    }

    /// Whether deliveries are checked at all.
    #[must_use]
    pub const fn is_verifying(&self) -> bool {
        self.scheme.is_verifying()
    }

    /// Whether the endpoint has a token in its path.
    #[must_use]
    pub const fn has_path_token(&self) -> bool {
        self.path_token.is_some()
    }

    /// The public URL of a request: as registered, with what the sender appended to its path and
    /// with the query as received.
    #[must_use]
    pub fn public_url(&self, path_and_query: &str) -> Option<String> {
        let registered = self.url.as_deref()?;
        let bare = registered.split(['?', '#']).next().unwrap_or(registered);
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let below = path
            .strip_prefix("/hooks/")
            .and_then(|rest| rest.split_once('/'));
        let mut url = bare.to_owned();
        if let Some((_, below)) = below {
            if !url.ends_with('/') {
                url.push('/');
            }
            url.push_str(below);
        }
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        Some(url)
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
    let parameters = parameters(&object, scheme.as_ref());
    let pending = object.optional("registration");
    let pending = pending.is_some_and(|place| place.one_of(&["pending"]).is_some());
    let tolerance = tolerance(&object);
    let path_token = object.optional("pathToken");
    let path_token = path_token.and_then(|place| reference(&place));
    let methods = texts(&object, "methods");
    let content_types = texts(&object, "contentTypes");
    let response = object.optional("response");
    let response = response.and_then(|place| Acknowledgement::read(&place));
    let intake = Intake::read(&object);
    object.finish();
    let (name, scheme) = (name?, scheme?);
    let scheme = match tolerance {
        Some(tolerance) => scheme.with_tolerance(tolerance),
        None => scheme,
    };
    let headers = scheme.credential_headers().into_iter();
    let masked = headers.chain(scheme.signature_headers()).collect();
    Some(Source {
        name,
        provider: provider.map(str::to_owned),
        url,
        intake,
        scheme,
        secrets,
        parameters,
        path_token,
        methods: methods
            .iter()
            .map(|text| text.to_ascii_uppercase())
            .collect(),
        content_types: content_types
            .iter()
            .map(|text| text.to_ascii_lowercase())
            .collect(),
        response,
        registration_pending: pending,
        window_days,
        masked,
    })
}

/// A list of texts, or one.
fn texts(object: &Object<'_>, name: &'static str) -> Vec<String> {
    let Some(place) = object.optional(name) else {
        return Vec::new();
    };
    let places = match place.node().content {
        Content::Array(_) => place.array().unwrap_or_default(),
        _ => vec![place],
    };
    let texts = places.iter().filter_map(Place::string);
    texts.map(str::to_owned).collect()
}

/// `tolerance`: how far a delivery's time may be from now, in place of what the provider says.
fn tolerance(object: &Object<'_>) -> Option<std::time::Duration> {
    let place = object.optional("tolerance")?;
    let tolerance = place.duration()?;
    let most = TOLERANCE_S_MAX.unsigned_abs();
    if tolerance.as_secs() == 0 || tolerance.as_secs() > most {
        place.fault("the tolerance must be from PT1S to PT24H");
    }
    Some(tolerance)
}

/// `parameters`: settings of the scheme that are no secrets, each a text or a list of them.
fn parameters(object: &Object<'_>, scheme: Option<&Scheme>) -> Vec<(String, Vec<String>)> {
    let Some(given) = object.optional_object("parameters") else {
        return Vec::new();
    };
    let Some(scheme) = scheme else {
        return Vec::new();
    };
    let mut parameters = Vec::new();
    for (key, place) in given.members() {
        if !scheme.parameter_names().contains(&key.name) {
            let known = scheme.parameter_names().iter().map(String::as_str);
            let hint = document::nearest(&key.name, known);
            given.unknown(key, hint.map(|name| format!("did you mean `{name}`?")));
            continue;
        }
        let places = match place.node().content {
            Content::Array(_) => place.array().unwrap_or_default(),
            _ => vec![place.clone()],
        };
        let values = places.iter().filter_map(|place| {
            let text = place.string()?;
            if text.trim().is_empty() {
                place.fault("this must not be blank");
            }
            Some(text.to_owned())
        });
        parameters.push((key.name.clone(), values.collect()));
    }
    parameters
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
        for (key, place) in attributes.object()?.members() {
            if RESERVED.contains(&key.name.as_str()) {
                place.fault(format!("`{}` is an attribute of our own", key.name));
            }
        }
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
    let needed = scheme.is_verifying() && !scheme.needs_documents();
    if secrets.is_empty() && needed {
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
