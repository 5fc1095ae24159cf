//! Questions a sender asks before it delivers, and literal answers it wants.
//!
//! Read from `handshake:` and `acknowledge:`, evaluated by `Scheme`. A handshake is answered, not
//! stored. Whether it must be signed is always written down, never assumed. Two of them ask for
//! more than an answer (`action`): a secret is to be kept, or a URL to be fetched; the scheme only
//! says so, the door decides and acts.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use regex::Regex;

use super::check::Check;
use super::compile::acknowledgement;
use super::key::value_in_round;
use super::pointer::Found;
use super::template::{Scope, Template};
use super::view::View;
use super::{Cause, Keys};
use crate::workflow::document::Place;

/// Longest text that is echoed, in bytes; a longer challenge is no handshake.
const ANSWER_BYTES_MAX: usize = 4_096;

/// Longest secret that is taken from a delivery, in bytes.
const CAPTURE_BYTES_MAX: usize = 512;

/// A literal answer to a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body, where there is one.
    pub content_type: Option<String>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, which may be empty.
    pub body: Bytes,
}

/// The answer a sender wants once its events are committed.
pub type Acknowledgement = Response;

impl Response {
    /// Reads a literal answer: `status`, `contentType`, `body`. None where a fault was noted.
    #[must_use]
    pub fn read(place: &Place<'_>) -> Option<Self> {
        acknowledgement(place)
    }
}

/// What a handshake asks for beside its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep this as the source's secret. Only while its registration is pending, or anyone could
    /// set it.
    Store {
        /// The scheme's name of the secret.
        name: String,
        /// Its value.
        value: String,
    },
    /// Fetch this URL, whose host the document allows.
    Confirm {
        /// An https URL.
        url: String,
    },
}

/// One entry of `handshake:`.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    /// Whether the delivery must be verified before it is answered.
    pub verified: bool,
    pub conditions: Vec<Condition>,
    pub checks: Vec<Check>,
    pub reply: Reply,
    pub action: Option<Deed>,
}

/// `action:`, not yet evaluated.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Store { name: String, value: Template },
    Confirm { url: Template, host: Regex },
}

/// `respond:`, not yet evaluated.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub content_type: Option<String>,
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Empty,
    Text(Template),
    /// An object of texts and literal values.
    Json(Vec<(String, Member)>),
}

#[derive(Clone, Debug)]
pub(super) enum Member {
    Text(Template),
    Literal(serde_json::Value),
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    Method(http::Method),
    /// The path ends so.
    Path(String),
    /// The header is there, and is this where a value is given.
    Header(HeaderName, Option<String>),
    Query(String),
    /// The scalar at a pointer is this.
    Json(usize, String),
    /// Something is at a pointer, or nothing is.
    JsonPresent(usize, bool),
    /// Nothing is at a pointer, or an empty list or object.
    JsonEmpty(usize),
}

impl Handshake {
    /// The answer, where the delivery is this handshake and has all that the answer needs.
    ///
    /// # Errors
    /// Where it is this handshake, but asks for what the document does not allow.
    pub fn answer(
        &self,
        view: &View<'_>,
        keys: &dyn Keys,
    ) -> Option<Result<(Response, Option<Action>), Cause>> {
        let mut conditions = self.conditions.iter();
        if !conditions.all(|condition| condition.holds(view)) {
            return None;
        }
        let secret = &|name: &str| value_in_round(keys, name, 0);
        let scope = Scope {
            secret,
            ..Scope::NONE
        };
        let mut checks = self.checks.iter();
        if !checks.all(|check| check.holds(view, &scope, keys) == Ok(true)) {
            return None;
        }
        let response = self.reply.render(view, &scope)?;
        let Some(deed) = &self.action else {
            return Some(Ok((response, None)));
        };
        let action = deed.action(view, &scope).ok_or(Cause::CheckFailed);
        Some(action.map(|action| (response, Some(action))))
    }
}

impl Deed {
    fn action(&self, view: &View<'_>, scope: &Scope<'_>) -> Option<Action> {
        match self {
            Self::Store { name, value } => {
                let value = value.text(view, scope)?;
                let fit = value.len() <= CAPTURE_BYTES_MAX
                    && !value.trim().is_empty()
                    && !value.chars().any(char::is_control);
                fit.then(|| Action::Store {
                    name: name.clone(),
                    value,
                })
            }
            Self::Confirm { url, host } => {
                let url = url::Url::parse(&url.text(view, scope)?).ok()?;
                let plain = url.scheme() == "https"
                    && url.port().is_none()
                    && url.username().is_empty()
                    && url.password().is_none();
                let allowed = plain && url.host_str().is_some_and(|name| host.is_match(name));
                allowed.then(|| Action::Confirm { url: url.into() })
            }
        }
    }
}

impl Reply {
    /// None where a part that it needs is absent, or it would be too long.
    fn render(&self, view: &View<'_>, scope: &Scope<'_>) -> Option<Response> {
        let body = match &self.body {
            Body::Empty => Vec::new(),
            Body::Text(template) => template.bytes(view, scope).ok()?,
            Body::Json(members) => {
                let members = members.iter().map(|(name, member)| {
                    let value = match member {
                        Member::Text(template) => template.text(view, scope)?.into(),
                        Member::Literal(value) => value.clone(),
                    };
                    Some((name.clone(), value))
                });
                let object: serde_json::Map<_, _> = members.collect::<Option<_>>()?;
                serde_json::to_vec(&object).ok()?
            }
        };
        let headers = self.headers.iter().map(|(name, template)| {
            let value = template.bytes(view, scope).ok()?;
            Some((name.clone(), HeaderValue::from_bytes(&value).ok()?))
        });
        let headers = headers.collect::<Option<Vec<_>>>()?;
        let json = matches!(self.body, Body::Json(_)).then(|| "application/json".to_owned());
        (body.len() <= ANSWER_BYTES_MAX).then(|| Response {
            status: self.status,
            content_type: self.content_type.clone().or(json),
            headers,
            body: body.into(),
        })
    }
}

impl Condition {
    fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Self::Method(method) => view.delivery.method == method,
            Self::Path(end) => view.path().ends_with(end),
            Self::Header(name, wanted) => {
                let found = view.header(std::slice::from_ref(name));
                let same = |found: &[u8]| {
                    wanted
                        .as_ref()
                        .is_none_or(|wanted| wanted.as_bytes() == found)
                };
                found.is_some_and(same)
            }
            Self::Query(name) => view.query(std::slice::from_ref(name)).is_some(),
            Self::Json(index, wanted) => view.json(&[*index]) == Some(wanted),
            Self::JsonPresent(index, present) => view.found(*index).is_some() == *present,
            Self::JsonEmpty(index) => matches!(view.found(*index), None | Some(Found::Empty)),
        }
    }
}
