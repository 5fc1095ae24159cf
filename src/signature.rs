//! Who sent this? Verification of deliveries by declarative schemes; senders are data.
//!
//! A [`Scheme`] is compiled once, from the embedded catalogue or from a source's own `verify:`
//! tree, and then decides purely: it takes a delivery, the time and the live secrets, and returns
//! a verdict, the facts of the event, or the answer to a handshake. Called by the webhook door,
//! by `demo` and by whoever signs samples. It reads no clock, no secret store and no network, and
//! it fails closed: what is blank, ambiguous, unknown or malformed verifies nothing.

mod catalogue;
mod compile;
mod credential;
mod event;
mod extract;
mod handshake;
mod key;
mod pointer;
mod sign;
mod signed;
mod template;
mod timestamp;
mod tree;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};

pub use event::Facts;
pub use handshake::{Acknowledgement, Response};
pub use sign::SignError;

use crate::workflow::document::{Fault, Place};
use event::Locations;
use handshake::Handshake;
use pointer::Pointer;
use template::Names;
use tree::Tree;
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
    /// The registered public URL, where the source has one.
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
    /// The values in force; none where there is no such secret.
    fn values(&self, name: &str) -> Vec<Vec<u8>>;
}

/// Why a delivery was rejected; the label of the metric and of the log line.
///
/// In the order in which the checks are made, so a later cause means the delivery came further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// We have no usable secret: none is set, or it is blank or not in the form it must have.
    SecretMissing,
    /// There is no signature or credential where this sender puts it.
    SignatureMissing,
    /// There is something, but no signature of this sender's form.
    SignatureMalformed,
    /// There is no timestamp, or it cannot be read.
    TimestampMissing,
    /// A part that the sender signs is absent.
    ContentMissing,
    /// A credential is not the one expected.
    CheckFailed,
    /// No live secret makes the signature: another secret, or content that was changed.
    SignatureMismatch,
    /// The signature is right but older or newer than the tolerance.
    TimestampOutsideTolerance,
}

impl Cause {
    /// All causes.
    pub const ALL: &'static [Cause] = &[
        Self::SecretMissing,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::TimestampMissing,
        Self::ContentMissing,
        Self::CheckFailed,
        Self::SignatureMismatch,
        Self::TimestampOutsideTolerance,
    ];

    /// The cause as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SecretMissing => "secret_missing",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::TimestampMissing => "timestamp_missing",
            Self::ContentMissing => "content_missing",
            Self::CheckFailed => "check_failed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampOutsideTolerance => "timestamp_outside_tolerance",
        }
    }
}

/// A sentence for the operator: what failed and where to look.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretMissing => {
                "the source has no usable secret: set it, in the provider's form"
            }
            Self::SignatureMissing => "the delivery carries no signature where this sender puts it",
            Self::SignatureMalformed => "what the delivery carries is no signature of this sender",
            Self::TimestampMissing => "the delivery carries no readable timestamp",
            Self::ContentMissing => "the delivery lacks a part that this sender signs",
            Self::CheckFailed => "a credential in the delivery is not the one expected",
            Self::SignatureMismatch => {
                "no secret of the source makes this signature: wrong secret \
                                        or changed content"
            }
            Self::TimestampOutsideTolerance => {
                "the delivery was signed too long ago, or a clock \
                                                is wrong"
            }
        })
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
    Handshake(Response),
    /// Something happened.
    Event {
        /// Which secret matched.
        verified: Verified,
        /// What the delivery says about the event.
        facts: Facts,
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
    secrets: Vec<String>,
    pointers: Vec<Pointer>,
}

impl Scheme {
    /// The catalogue's entry of this name.
    #[must_use]
    pub fn provider(name: &str) -> Option<&'static Scheme> {
        catalogue::embedded()
            .iter()
            .find(|scheme| scheme.name.as_deref() == Some(name))
    }

    /// Names in the catalogue, in its order.
    #[must_use]
    pub fn providers() -> Vec<&'static str> {
        let schemes = catalogue::embedded().iter();
        schemes
            .filter_map(|scheme| scheme.name.as_deref())
            .collect()
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
        compile::scheme(parts, Vec::new())
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
            secrets: Vec::new(),
            pointers: Vec::new(),
        }
    }

    /// The same scheme with a source's own `event:` in place of the catalogue's; None where a
    /// fault was noted.
    #[must_use]
    pub fn with_event(mut self, place: &Place<'_>) -> Option<Scheme> {
        let mut names = self.names();
        self.event = Locations::read(place, &mut names)?;
        self.pointers = names.pointers;
        Some(self)
    }

    /// The same scheme that also fills [`Facts::attributes`] as a source's `attributes:` says;
    /// None where a fault was noted.
    #[must_use]
    pub fn with_attributes(mut self, place: &Place<'_>) -> Option<Scheme> {
        let mut names = self.names();
        self.event.map(place, &mut names)?;
        self.pointers = names.pointers;
        Some(self)
    }

    /// The catalogue's name of this scheme; none for a source's own tree.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Secret names this scheme uses (the first is the one a single `secret:` means).
    #[must_use]
    pub fn secret_names(&self) -> &[String] {
        &self.secrets
    }

    /// Whether deliveries are checked at all; false only for [`Scheme::unverified`].
    #[must_use]
    pub const fn is_verifying(&self) -> bool {
        !matches!(self.tree, Tree::Unverified)
    }

    /// Verifies a delivery and says what it is; its body is scanned at most once.
    ///
    /// # Errors
    /// The check that failed. Handshakes that are declared as unsigned are answered unverified.
    pub fn receive(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<Received, Cause> {
        let view = View::new(delivery, &self.pointers);
        let unsigned = self
            .handshakes
            .iter()
            .filter(|handshake| !handshake.verified);
        if let Some(response) = unsigned.filter_map(|one| one.answer(&view)).next() {
            return Ok(Received::Handshake(response));
        }
        let verified = self.tree.verify(&view, keys)?;
        let signed = self
            .handshakes
            .iter()
            .filter(|handshake| handshake.verified);
        if let Some(response) = signed.filter_map(|one| one.answer(&view)).next() {
            return Ok(Received::Handshake(response));
        }
        let facts = self.event.facts(&view);
        Ok(Received::Event { verified, facts })
    }

    /// Verifies a delivery.
    ///
    /// # Errors
    /// The check that failed.
    pub fn verify(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        self.tree.verify(&View::new(delivery, &self.pointers), keys)
    }

    /// Event id, dedupe id, type and so on, as the catalogue or the source locates them.
    #[must_use]
    pub fn facts(&self, delivery: &Delivery<'_>) -> Facts {
        self.event.facts(&View::new(delivery, &self.pointers))
    }

    /// The answer, where the delivery is a handshake; verifies nothing, see [`Scheme::receive`].
    #[must_use]
    pub fn handshake(&self, delivery: &Delivery<'_>) -> Option<Response> {
        let view = View::new(delivery, &self.pointers);
        self.handshakes
            .iter()
            .find_map(|handshake| handshake.answer(&view))
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

    /// The headers that make a delivery genuine: signature, timestamp and id, in addition to the
    /// ones it has. Signs with the newest secret and at `delivery.now`.
    ///
    /// # Errors
    /// Why this scheme or delivery cannot be signed.
    pub fn sign(&self, delivery: &Delivery<'_>, keys: &dyn Keys) -> Result<HeaderMap, SignError> {
        let signed = self.tree.signing().ok_or(SignError::Unsupported)?;
        sign::headers(signed, &self.event, &self.pointers, (delivery, keys))
    }

    fn names(&mut self) -> Names {
        Names {
            pointers: std::mem::take(&mut self.pointers),
            secrets: Vec::new(),
        }
    }
}
