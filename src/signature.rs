//! Who sent this? Verification of deliveries by declarative schemes; senders are data.
//!
//! A [`Scheme`] is compiled once, from the embedded catalogue or from a source's own `verify:`
//! tree, and then decides purely: it takes a delivery, the time and the live secrets, and returns
//! a verdict, the facts of the event, or the answer to a handshake. Called by the webhook door,
//! by `demo` and by whoever signs samples. It reads no clock, no secret store and no network, and
//! it fails closed: what is blank, ambiguous, unknown or malformed verifies nothing.

mod canonical;
mod catalogue;
mod cause;
mod check;
mod choice;
mod compile;
mod credential;
mod elements;
mod event;
mod extract;
mod handshake;
mod jwks;
mod jwt;
mod key;
mod pointer;
pub mod samples;
mod sign;
mod signed;
mod template;
mod timestamp;
mod tree;
mod view;
mod x509;
pub(crate) mod xml;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};

pub use catalogue::{About, Practice};
pub use cause::Cause;
pub use compile::TOLERANCE_S_MAX;
pub use event::Facts;
pub use handshake::{Acknowledgement, Action, Response};
pub use sign::SignError;

use crate::workflow::document::{Fault, Place};
use event::Locations;
use handshake::Handshake;
use template::{Names, Scope};
use tree::{Evidence, Proof, Tree};
use view::View;

/// Headers that always carry credentials, whatever the scheme.
const CREDENTIAL_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
];

/// A delivery as received, for verification and extraction.
pub struct Delivery<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// Path and query as received, such as `/hooks/shop?x=1`.
    pub path_and_query: &'a str,
    /// The public URL of this request: as registered, with the query as received. Only where the
    /// source has one; never made of what the request says of its host.
    pub url: Option<&'a str>,
    /// All headers; values that repeat and disagree count as absent.
    pub headers: &'a HeaderMap,
    /// The body, byte for byte.
    pub body: &'a Bytes,
    /// Seconds since the Unix epoch.
    pub now: i64,
}

/// Live secret values by name; several values while rotating, newest first.
pub trait Keys {
    /// The values in force; none where there is no such secret or parameter.
    fn values(&self, name: &str) -> Vec<Vec<u8>>;

    /// What was fetched from a URL: a set of keys, a certificate. See [`Scheme::documents`].
    fn document(&self, _url: &str) -> Option<Bytes> {
        None
    }
}

/// A delivery that is genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which secret matched; none where nothing is checked.
    pub secret_name: Option<Arc<str>>,
    /// Which value of the secret matched (0 = newest).
    pub secret_index: usize,
}

/// What a genuine delivery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A question of the sender: answer it, store nothing.
    Handshake {
        /// The answer.
        response: Response,
        /// What is to be done first; where it fails, the answer must not be given.
        action: Option<Action>,
    },
    /// Something happened.
    Event {
        /// Which secret matched.
        verified: Verified,
        /// What the delivery says about the event.
        facts: Facts,
    },
    /// Several things happened; or none, where the sender says so with an empty list.
    Batch {
        /// Which secret matched.
        verified: Verified,
        /// Each element as it stands in the body, and what is said about it.
        elements: Vec<(Bytes, Facts)>,
    },
}

/// The parts of a scheme in a document: members of a catalogue entry or of a source.
pub struct Parts<'a> {
    /// `verify:`, the tree.
    pub verify: Place<'a>,
    /// `event:`, where id, type and so on stand.
    pub event: Option<Place<'a>>,
    /// `handshake:`, a list.
    pub handshake: Option<Place<'a>>,
    /// `acknowledge:`, a literal answer.
    pub acknowledge: Option<Place<'a>>,
}

/// A compiled scheme with its event locations.
#[derive(Clone, Debug)]
pub struct Scheme {
    name: Option<String>,
    tree: Tree,
    event: Locations,
    handshakes: Vec<Handshake>,
    acknowledgement: Option<Acknowledgement>,
    quiet: bool,
    names: Names,
}

impl Scheme {
    /// The catalogue's entry of this name.
    #[must_use]
    pub fn provider(name: &str) -> Option<&'static Scheme> {
        catalogue::embedded().get(name).map(|entry| &entry.scheme)
    }

    /// What the catalogue tells people about the sender of this name.
    #[must_use]
    pub fn about(name: &str) -> Option<&'static About> {
        catalogue::embedded().get(name).map(|entry| &entry.about)
    }

    /// Names in the catalogue, in its order.
    #[must_use]
    pub fn providers() -> Vec<&'static str> {
        catalogue::embedded().names()
    }

    /// Reads a catalogue: the embedded one's form, for entries of the user's own.
    ///
    /// # Errors
    /// Everything wrong in the text, each with its place.
    pub fn catalogue(text: &str) -> Result<Vec<Scheme>, Vec<Fault>> {
        catalogue::read(text)
    }

    /// Compiles the parts of a source; None where a fault was noted at one of the places.
    #[must_use]
    pub fn compile(parts: &Parts<'_>) -> Option<Scheme> {
        compile::scheme(parts, Names::default())
    }

    /// Takes every delivery as genuine: for a source that says `verify: none`, and nothing else.
    #[must_use]
    pub fn unverified() -> Scheme {
        Self {
            name: None,
            tree: Tree::Unverified,
            event: Locations::default(),
            handshakes: Vec::new(),
            acknowledgement: None,
            quiet: false,
            names: Names::default(),
        }
    }

    /// The same scheme with a source's own `event:` in place of the catalogue's; None where a
    /// fault was noted.
    #[must_use]
    pub fn with_event(mut self, place: &Place<'_>) -> Option<Scheme> {
        let batch = std::mem::take(&mut self.event.batch);
        self.event = Locations::read(place, &mut self.names)?;
        if self.event.batch.is_empty() {
            self.event.batch = batch;
        }
        Some(self)
    }

    /// The same scheme that also fills [`Facts::attributes`] as a source's `attributes:` says;
    /// None where a fault was noted.
    #[must_use]
    pub fn with_attributes(mut self, place: &Place<'_>) -> Option<Scheme> {
        self.event.map(place, &mut self.names)?;
        Some(self)
    }

    /// The catalogue's name of this scheme; none for a source's own tree.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same scheme with another tolerance for all of its timestamps.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Scheme {
        self.tree.set_tolerance(tolerance);
        self
    }

    /// Secret names this scheme uses (the first is the one a single `secret:` means).
    #[must_use]
    pub fn secret_names(&self) -> &[String] {
        &self.names.secrets
    }

    /// Names of the settings that are no secrets, such as the audience of a token.
    #[must_use]
    pub fn parameter_names(&self) -> &[String] {
        &self.names.parameters
    }

    /// Whether deliveries are checked at all; false only for [`Scheme::unverified`].
    #[must_use]
    pub const fn is_verifying(&self) -> bool {
        !matches!(self.tree, Tree::Unverified)
    }

    /// Whether the sender wants refusals without a body.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether anything must be fetched to verify, see [`Scheme::documents`].
    #[must_use]
    pub fn needs_documents(&self) -> bool {
        self.tree.needs_documents()
    }

    /// The URLs of what this delivery is verified with: sets of keys, certificates. Only such as
    /// the document allows; whoever calls fetches them and gives them in [`Keys::document`].
    #[must_use]
    pub fn documents(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Vec<String> {
        let mut urls = Vec::new();
        let view = View::new(delivery, &self.names.pointers);
        self.tree.documents(self.evidence(&view, keys), &mut urls);
        urls.sort_unstable();
        urls.dedup();
        urls
    }

    /// Verifies a delivery and says what it is; its body is scanned at most once.
    ///
    /// # Errors
    /// The check that failed. Handshakes that are declared as unsigned are answered unverified.
    pub fn receive(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<Received, Cause> {
        let view = View::new(delivery, &self.names.pointers);
        if let Some(handshake) = self.answer(&view, keys, false)? {
            return Ok(handshake);
        }
        let proof = self.tree.verify(self.evidence(&view, keys))?;
        if let Some(handshake) = self.answer(&view, keys, true)? {
            return Ok(handshake);
        }
        Ok(self.happened(&view, proof))
    }

    fn answer(
        &self,
        view: &View<'_>,
        keys: &dyn Keys,
        verified: bool,
    ) -> Result<Option<Received>, Cause> {
        let handshakes = self.handshakes.iter();
        let mut asked = handshakes.filter(|one| one.verified == verified);
        let answer = asked.find_map(|one| one.answer(view, keys)).transpose()?;
        Ok(answer.map(|(response, action)| Received::Handshake { response, action }))
    }

    fn happened(&self, view: &View<'_>, proof: Proof) -> Received {
        let Proof { verified, claims } = proof;
        let scope = Scope {
            claims: claims.as_ref(),
            ..Scope::NONE
        };
        let body = view.delivery.body;
        let mut batches = self.event.batch.iter();
        let items = batches.find_map(|batch| batch.items(body, &self.names.items));
        let Some(items) = items else {
            let facts = self.event.facts(view, &scope);
            return Received::Event { verified, facts };
        };
        let elements = items.into_iter().map(|item| {
            let scope = Scope {
                item: Some(&item),
                ..scope
            };
            (
                body.slice_ref(item.raw.as_bytes()),
                self.event.facts(view, &scope),
            )
        });
        let elements = elements.collect();
        Received::Batch { verified, elements }
    }

    const fn evidence<'a>(&'a self, view: &'a View<'a>, keys: &'a dyn Keys) -> Evidence<'a> {
        Evidence {
            view,
            keys,
            items: self.names.items.as_slice(),
        }
    }

    /// Verifies a delivery.
    ///
    /// # Errors
    /// The check that failed.
    pub fn verify(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        let view = View::new(delivery, &self.names.pointers);
        let proof = self.tree.verify(self.evidence(&view, keys));
        proof.map(|proof| proof.verified)
    }

    /// Event id, dedupe id, type and so on, as the catalogue or the source locates them; without
    /// what a token claims.
    #[must_use]
    pub fn facts(&self, delivery: &Delivery<'_>) -> Facts {
        let view = View::new(delivery, &self.names.pointers);
        self.event.facts(&view, &Scope::NONE)
    }

    /// The literal answer the sender wants once its events are committed, where it wants one.
    #[must_use]
    pub const fn acknowledgement(&self) -> Option<&Acknowledgement> {
        self.acknowledgement.as_ref()
    }

    /// The widest tolerance of any timestamp; none where nothing is dated.
    #[must_use]
    pub fn tolerance(&self) -> Option<Duration> {
        self.tree.tolerance()
    }

    /// Headers whose values must be masked when a delivery is stored: plain credentials, not
    /// signatures.
    #[must_use]
    pub fn credential_headers(&self) -> Vec<HeaderName> {
        let mut headers = CREDENTIAL_HEADERS.to_vec();
        self.tree.credentials(&mut headers);
        headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        headers
    }

    /// Headers that carry signatures, which are of no use once verified.
    #[must_use]
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        let mut headers = Vec::new();
        self.tree.signatures(&mut headers);
        headers
    }

    /// The headers that make a delivery genuine: signature or credential, timestamp and id, in
    /// addition to the ones it has. Signs with the newest secret and at `delivery.now`.
    ///
    /// # Errors
    /// Why this scheme or delivery cannot be signed.
    pub fn sign(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<HeaderMap, SignError> {
        let signing = sign::Signing {
            delivery,
            keys,
            event: &self.event,
            pointers: &self.names.pointers,
        };
        signing.tree(&self.tree)
    }
}
