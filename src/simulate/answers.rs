//! Scripted answers: to which calls they belong, and what comes back after which time.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::document::place;
use crate::call::rehearse::{Reply, Sent};
use crate::expression::{Mode, Scope, Template, Value};
use crate::workflow::document::{Content, Place};

/// How often one answer, or one expected call, may be asked for.
const TIMES_MAX: i64 = 100_000;

/// What an answer can be instead of a status.
const FAILURES: [&str; 4] = ["timeout", "refused", "reset", "malformed"];

/// JSON that ends too early.
const MALFORMED: &str = r#"{"cut": [1, 2"#;

/// A text in which `*` stands for anything.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    with_query: bool,
}

/// The answers to some calls.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// As written.
    pub name: String,
    pub place: (u32, u32),
    /// Whether answers left over at the end are a mistake.
    pub strict: bool,
    to: To,
    answers: Vec<Answer>,
    /// Whether the only answer is given however often it is asked for.
    endless: bool,
    /// How often each was given.
    given: Vec<u32>,
}

/// Which calls.
#[derive(Clone, Debug)]
enum To {
    /// Those of the tasks of this name.
    Task(String),
    /// Those of the task at this reference.
    Reference(String),
    /// Those of this method, or of any, to these URIs.
    Uri(Option<String>, Pattern),
}

/// One answer.
#[derive(Clone, Debug)]
struct Answer {
    place: (u32, u32),
    times: u32,
    after: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Failure(&'static str),
    Response {
        status: StatusCode,
        headers: HeaderMap,
        body: Body,
    },
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Json(Template),
    Text(String),
}

/// A call that is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub task: &'a str,
    pub reference: &'a str,
    /// The URI as the workflow has it.
    pub uri: &'a str,
    pub sent: &'a Sent,
}

/// What an answer's expressions see besides the request: nothing.
struct Nothing;

impl Scope for Nothing {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            with_query: text.contains('?'),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits the URI; its query counts only where the pattern has one.
    pub fn fits(&self, uri: &str) -> bool {
        let uri = match self.with_query {
            true => uri,
            false => uri.split('?').next().unwrap_or(uri),
        };
        let mut parts = self.text.split('*');
        let Some(mut rest) = uri.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            // The first place that fits leaves most for what comes after it.
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl Rule {
    /// The next answer, where the call is one of its own: after which time, and what.
    ///
    /// # Errors
    /// Why there is none although the call is its own.
    pub fn answer(&mut self, asked: &Asked<'_>) -> Option<Result<(Duration, Reply), String>> {
        let own = match &self.to {
            To::Task(name) => name == asked.task,
            To::Reference(reference) => reference == asked.reference,
            To::Uri(method, pattern) => {
                let method = method.as_ref();
                method.is_none_or(|method| *method == asked.sent.method)
                    && (pattern.fits(&asked.sent.url) || pattern.fits(asked.uri))
            }
        };
        if !own {
            return None;
        }
        let open = |(answer, given): &(&Answer, &mut u32)| self.endless || **given < answer.times;
        let next = self.answers.iter().zip(&mut self.given).find(open);
        let Some((answer, given)) = next else {
            let total: u32 = self.given.iter().sum();
            let (line, _) = self.place;
            return Some(Err(format!(
                "`{}` on line {line} has no more than {total} answers",
                self.name
            )));
        };
        *given += 1;
        let reply = answer.what.reply(asked.sent);
        Some(reply.map(|reply| (answer.after, reply)))
    }

    /// The place of the first answer that was given less often than it says, and how often.
    pub fn left_over(&self) -> Option<((u32, u32), u32, u32)> {
        let mut all = self.answers.iter().zip(&self.given);
        let (answer, given) = all.find(|(answer, given)| **given < answer.times)?;
        Some((answer.place, *given, answer.times))
    }
}

impl What {
    fn reply(&self, sent: &Sent) -> Result<Reply, String> {
        let (status, headers, body) = match self {
            Self::Failure("timeout") => return Ok(Reply::Silence),
            Self::Failure("refused") => {
                return Ok(Reply::Broken("no connection: Connection refused"));
            }
            Self::Failure("malformed") => (
                StatusCode::OK,
                &HeaderMap::new(),
                &Body::Text(MALFORMED.to_owned()),
            ),
            Self::Failure(_) => {
                let how = "the connection broke: Connection reset by peer";
                return Ok(Reply::Broken(how));
            }
            Self::Response {
                status,
                headers,
                body,
            } => (*status, headers, body),
        };
        let (media, bytes) = match body {
            Body::None => (None, Bytes::new()),
            Body::Text(text) if matches!(self, Self::Failure(_)) => {
                (Some("application/json"), Bytes::from(text.clone()))
            }
            Body::Text(text) => (Some("text/plain; charset=utf-8"), Bytes::from(text.clone())),
            Body::Json(template) => {
                let value = template.evaluate(&request(sent), &Nothing);
                let value = value.map_err(|error| error.message)?;
                (Some("application/json"), Bytes::from(value.to_json()))
            }
        };
        let mut response = http::Response::new(bytes);
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        if let Some(media) = media {
            let headers = response.headers_mut();
            let media = HeaderValue::from_static(media);
            headers.entry(CONTENT_TYPE).or_insert(media);
        }
        Ok(Reply::Answer(response))
    }
}

/// A request as data: `method`, `uri`, `headers`, and `body`, parsed where it is JSON.
pub(super) fn request(sent: &Sent) -> Value {
    let headers = sent.headers.iter();
    let text = |text: &str| Value::string(text);
    Value::object([
        ("method".to_owned(), text(&sent.method)),
        ("uri".to_owned(), text(&sent.url)),
        (
            "headers".to_owned(),
            Value::object(headers.map(|(name, value)| (name.clone(), text(value)))),
        ),
        ("body".to_owned(), body(sent)),
    ])
}

/// The body of a request as data: JSON where it is, else a string; null where there is none.
pub(super) fn body(sent: &Sent) -> Value {
    let Some(bytes) = &sent.body else {
        return Value::null();
    };
    let mut headers = sent.headers.iter();
    let json = headers.any(|(name, value)| name == "content-type" && value.contains("json"));
    let parsed = json.then(|| Value::from_json(bytes).ok()).flatten();
    parsed.unwrap_or_else(|| Value::string(String::from_utf8_lossy(bytes)))
}

/// Reads `answers`: an object from calls to what they are answered.
pub(super) fn read(at: &Place<'_>, strict: bool) -> Vec<Rule> {
    let Some(object) = at.object() else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (key, at) in object.members() {
        let list = matches!(at.node().content, Content::Array(_));
        let places = match list {
            true => at.array().unwrap_or_default(),
            false => vec![at.clone()],
        };
        if places.is_empty() {
            at.fault("there must be at least one answer");
        }
        let answers: Vec<_> = places.iter().filter_map(answer).collect();
        rules.push(Rule {
            place: (key.line, key.column),
            strict,
            to: to(&key.name),
            name: key.name.clone(),
            given: vec![0; answers.len()],
            // An answer on its own, that does not say how often, answers every call.
            endless: !list && at.node().get("times").is_none(),
            answers,
        });
    }
    rules
}

fn to(text: &str) -> To {
    if let Some((method, uri)) = text.split_once(' ') {
        let method = method.trim().to_ascii_uppercase();
        let method = (method != "*").then_some(method);
        return To::Uri(method, Pattern::new(uri.trim()));
    }
    if text.contains("://") || text == "*" {
        return To::Uri(None, Pattern::new(text));
    }
    match text.starts_with('/') {
        true => To::Reference(text.to_owned()),
        false => To::Task(text.to_owned()),
    }
}

fn answer(at: &Place<'_>) -> Option<Answer> {
    let mut read = Answer {
        place: place(at),
        times: 1,
        after: Duration::ZERO,
        what: What::Failure(""),
    };
    match &at.node().content {
        Content::Number(_) => {
            read.what = What::Response {
                status: status(at)?,
                headers: HeaderMap::new(),
                body: Body::None,
            };
        }
        Content::String(_) => read.what = What::Failure(FAILURES[at.one_of(&FAILURES)?]),
        _ => {
            let object = at.object()?;
            read.times = object.optional("times").map_or(Some(1), |at| times(&at))?;
            read.after = object.optional_duration("after").unwrap_or_default();
            let fails = object.optional("fails");
            let response = response(&object);
            object.finish();
            read.what = match fails {
                Some(at) => What::Failure(FAILURES[at.one_of(&FAILURES)?]),
                None => response?,
            };
        }
    }
    Some(read)
}

fn response(object: &crate::workflow::document::Object<'_>) -> Option<What> {
    let status = match object.optional("status") {
        Some(at) => status(&at)?,
        None => StatusCode::OK,
    };
    let headers = match object.optional("headers") {
        Some(at) => headers(&at)?,
        None => HeaderMap::new(),
    };
    let json = object.optional("body");
    let text = object.optional("text");
    let body = match (json, text) {
        (Some(_), Some(text)) => {
            text.fault_with(
                "an answer has a `body` or a `text`, not both",
                "`body` is sent as JSON, `text` as it stands",
            );
            return None;
        }
        (Some(at), None) => Body::Json(template(&at)?),
        (None, Some(at)) => Body::Text(at.string()?.to_owned()),
        (None, None) => Body::None,
    };
    Some(What::Response {
        status,
        headers,
        body,
    })
}

fn template(at: &Place<'_>) -> Option<Template> {
    match Template::compile(&at.value(), &[], Mode::Value) {
        Ok(template) => Some(template),
        Err(errors) => {
            for (pointer, error) in errors {
                let message = match pointer.is_empty() {
                    true => error.message,
                    false => format!("{pointer}: {}", error.message),
                };
                match error.hint {
                    Some(hint) => at.fault_with(message, hint),
                    None => at.fault(message),
                }
            }
            None
        }
    }
}

fn headers(at: &Place<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (key, at) in at.object()?.members() {
        let text = match &at.node().content {
            Content::Number(digits) => digits.as_str(),
            _ => at.string()?,
        };
        let name = HeaderName::from_bytes(key.name.as_bytes()).ok();
        let value = HeaderValue::from_str(text).ok();
        match name.zip(value) {
            Some((name, value)) => drop(headers.append(name, value)),
            None => at.fault(format!("`{}` is no header that can be sent", key.name)),
        }
    }
    Some(headers)
}

fn status(at: &Place<'_>) -> Option<StatusCode> {
    let status = u16::try_from(at.integer(200, 599)?).ok()?;
    StatusCode::from_u16(status).ok()
}

/// How often.
pub(super) fn times(at: &Place<'_>) -> Option<u32> {
    u32::try_from(at.integer(1, TIMES_MAX)?).ok()
}
