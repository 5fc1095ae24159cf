//! Vectors: requests with the verdict they must get. How a contributor proves a new provider.
//!
//! A file is a JSON list of `{provider, source, method, url, headers, body_base64, secret, now,
//! valid, note}`; `kind: handshake` entries have `expect` instead of `valid`. `secret` is a text, a
//! list while rotating, or values by name; `extra` carries certificates and sets of keys by URL,
//! a base URL and a tolerance. The time is the vector's own.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::signature::{Action, Cause, Delivery, Keys, Received, Response, Scheme};

/// One entry of a file.
#[derive(Debug, Deserialize)]
struct Vector {
    provider: String,
    source: String,
    method: String,
    url: String,
    headers: Headers,
    body_base64: String,
    secret: Secret,
    now: i64,
    valid: Option<bool>,
    expect: Option<Expected>,
    note: String,
    #[serde(default)]
    extra: Extra,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Headers {
    Named(BTreeMap<String, String>),
    Listed(Vec<(String, String)>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Secret {
    One(String),
    Rotating(Vec<String>),
    Named(BTreeMap<String, Values>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct Extra {
    #[serde(default)]
    certs: BTreeMap<String, Option<String>>,
    jwks: Option<Value>,
    #[serde(alias = "baseUrl")]
    base_url: Option<String>,
    tolerance: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    status: u16,
    body: Option<String>,
    json: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    action: Option<Value>,
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Vectors that got the verdict they must get.
    pub passed: usize,
    /// A line for each of the others.
    pub failures: Vec<String>,
}

/// Runs the vectors of a file against the catalogue, or against `own` entries where one of them
/// has the name.
///
/// # Errors
/// Where the text is no such file.
pub fn verify(text: &str, own: &[Scheme]) -> anyhow::Result<Report> {
    let vectors: Vec<Vector> = serde_json::from_str(text)?;
    let mut report = Report::default();
    for vector in &vectors {
        let name = vector.provider.as_str();
        let scheme = own.iter().find(|scheme| scheme.name() == Some(name));
        let scheme = scheme.or_else(|| Scheme::provider(name));
        let outcome = match scheme {
            Some(scheme) => vector.run(scheme),
            None => Err("there is no such provider".to_owned()),
        };
        match outcome {
            Ok(()) => report.passed += 1,
            Err(what) => report.failures.push(format!(
                "{name}: {}: {}: {what}",
                vector.source, vector.note
            )),
        }
    }
    Ok(report)
}

/// The secrets, settings and documents of one vector.
struct Live<'v> {
    vector: &'v Vector,
    first: Option<&'v str>,
}

impl Keys for Live<'_> {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let bytes = |text: &String| text.clone().into_bytes();
        if let (Some(base), "base_url") = (&self.vector.extra.base_url, name) {
            return vec![bytes(base)];
        }
        match &self.vector.secret {
            Secret::Named(named) => match named.get(name) {
                None => Vec::new(),
                Some(Values::One(text)) => vec![bytes(text)],
                Some(Values::Several(texts)) => texts.iter().map(bytes).collect(),
            },
            _ if Some(name) != self.first => Vec::new(),
            Secret::One(text) => vec![bytes(text)],
            Secret::Rotating(texts) => texts.iter().map(bytes).collect(),
        }
    }

    fn document(&self, url: &str) -> Option<Bytes> {
        let extra = &self.vector.extra;
        let certificate = extra.certs.get(url).cloned().flatten();
        let keys = extra.jwks.as_ref().map(Value::to_string);
        certificate.or(keys).map(Bytes::from)
    }
}

impl Vector {
    fn run(&self, scheme: &Scheme) -> Result<(), String> {
        let scheme = match self.extra.tolerance {
            Some(seconds) => &scheme.clone().with_tolerance(Duration::from_secs(seconds)),
            None => scheme,
        };
        let url: url::Url = self.url.parse().map_err(|_| "its URL is none")?;
        let method = self.method.parse().map_err(|_| "its method is none")?;
        let body = BASE64_STANDARD.decode(&self.body_base64);
        let body = Bytes::from(body.map_err(|_| "its body is not base64")?);
        let headers = self.headers()?;
        let delivery = Delivery {
            method: &method,
            path_and_query: &url[url::Position::BeforePath..],
            url: Some(&self.url),
            headers: &headers,
            body: &body,
            now: self.now,
        };
        let names = scheme.secret_names().iter().chain(scheme.parameter_names());
        let first = names.map(String::as_str).next();
        let live = Live {
            vector: self,
            first,
        };
        match (self.valid, &self.expect) {
            (Some(valid), None) => {
                let verdict = scheme.verify(&delivery, &live);
                let right = verdict.is_ok() == valid;
                right
                    .then_some(())
                    .ok_or_else(|| told(valid, verdict.err()))
            }
            (None, Some(expected)) => {
                expected.compare(scheme.receive(&delivery, &live), scheme.is_quiet())
            }
            _ => Err("it has either `valid` or `expect`".to_owned()),
        }
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let listed: Vec<(&String, &String)> = match &self.headers {
            Headers::Named(named) => named.iter().collect(),
            Headers::Listed(listed) => listed.iter().map(|(name, value)| (name, value)).collect(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in listed {
            let fault = || format!("its header {name} is none");
            let name: HeaderName = name.parse().map_err(|_| fault())?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| fault())?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn told(valid: bool, cause: Option<Cause>) -> String {
    match cause {
        Some(cause) if valid => format!("refused, though genuine: {} ({cause})", cause.label()),
        _ => "accepted, though forged".to_owned(),
    }
}

impl Expected {
    fn compare(&self, received: Result<Received, Cause>, quiet: bool) -> Result<(), String> {
        let (response, action) = match received {
            Ok(Received::Handshake { response, action }) => (response, action),
            Ok(_) => return Err("taken as an event, not as a handshake".to_owned()),
            Err(_) if self.status == 401 => {
                let silent = self.body.as_deref() != Some("") || quiet;
                return silent
                    .then_some(())
                    .ok_or_else(|| "refused with a body".to_owned());
            }
            Err(cause) => return Err(told(true, Some(cause))),
        };
        let answered = self.is_answered(&response);
        let acted = self.action.is_none() || self.action == shown(action);
        (answered && acted)
            .then_some(())
            .ok_or_else(|| format!("answered with {response:?}"))
    }

    fn is_answered(&self, response: &Response) -> bool {
        let body = self
            .body
            .as_ref()
            .is_none_or(|body| body.as_bytes() == response.body);
        let json = self.json.as_ref().is_none_or(|json| {
            serde_json::from_slice::<Value>(&response.body).is_ok_and(|found| found == *json)
        });
        let headers = self.headers.iter().all(|(name, value)| {
            if name.eq_ignore_ascii_case("content-type") {
                return response.content_type.as_ref() == Some(value);
            }
            let mut found = response.headers.iter();
            found.any(|(known, found)| {
                known.as_str().eq_ignore_ascii_case(name) && found == value.as_str()
            })
        });
        self.status == response.status && body && json && headers
    }
}

/// An action as vectors write it.
fn shown(action: Option<Action>) -> Option<Value> {
    Some(match action? {
        Action::Store { name, value } => serde_json::json!({ "store_secret": { name: value } }),
        Action::Confirm { url } => serde_json::json!({ "confirm_get": url }),
    })
}
