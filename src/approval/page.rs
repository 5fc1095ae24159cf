//! The page behind an approver's link. Reading it changes nothing, since mail scanners and chat
//! previews follow links; only the form it holds decides. It needs no script, and nothing that
//! people have written gets into it unescaped.

use std::fmt::Write;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde_json::Value;

use super::{Choice, Origin, Refused, Shared, Via, Wrong, ask, form, standing};
use crate::run::approval::{Ask, Standing};
use crate::store::approvals::StoredApproval;
use crate::webhook::Peer;
use crate::worker::asked::digest_of;

/// Largest form that is read, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 100;

/// Longest claim of a proxy that is kept, in bytes.
const FORWARDED_BYTES_MAX: usize = 200;

/// Nothing but this page's own style and its form.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;\
padding:0 1rem;color:#111;background:#fff}pre{white-space:pre-wrap;font:inherit}\
label{display:block;margin:1rem 0 .25rem}input,select,textarea{font:inherit;padding:.3rem}\
textarea{width:100%}button{font:inherit;padding:.5rem 1.5rem;margin:1rem 1rem 0 0}\
.wrong{color:#a00}small{color:#555}";

/// The routes of the page.
pub fn router(decisions: Shared) -> Router {
    Router::new()
        .route("/approvals/{token}", get(show).post(decide))
        .with_state(decisions)
}

/// Where a request came from.
#[must_use]
pub fn origin(peer: Option<Peer>, headers: &HeaderMap) -> Origin {
    let forwarded = headers.get("x-forwarded-for");
    let forwarded = forwarded.and_then(|value| value.to_str().ok());
    Origin {
        address: peer.map(|peer| peer.0.to_string()),
        forwarded_for: forwarded.map(|text| text.chars().take(FORWARDED_BYTES_MAX).collect()),
    }
}

async fn find(decisions: &Shared, token: &str) -> Result<StoredApproval, Response> {
    let found = if token.len() <= TOKEN_BYTES_MAX {
        let found = decisions.store.approval_of_link(&digest_of(token)).await;
        found.map_err(|error| away(&error))?
    } else {
        None
    };
    found.ok_or_else(|| {
        let text = "<h1>No such approval</h1><p>This link is not known here. It may have been cut \
                    off, or its approval is long over.</p>";
        page(StatusCode::NOT_FOUND, "No such approval", text)
    })
}

fn away(error: &crate::store::Error) -> Response {
    tracing::warn!(error = %error, "an approval could not be read");
    let text = "<h1>Please try again</h1><p>The server cannot read or store it now.</p>";
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, "Please try again", text);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

async fn show(State(decisions): State<Shared>, Path(token): Path<String>) -> Response {
    let stored = match find(&decisions, &token).await {
        Ok(stored) => stored,
        Err(response) => return response,
    };
    match ask(&stored) {
        Ok(ask) => question(StatusCode::OK, &stored, &ask, &[]),
        Err(error) => away(&error),
    }
}

async fn decide(
    State(decisions): State<Shared>,
    Path(token): Path<String>,
    request: Request<Body>,
) -> Response {
    let stored = match find(&decisions, &token).await {
        Ok(stored) => stored,
        Err(response) => return response,
    };
    let ask = match ask(&stored) {
        Ok(ask) => ask,
        Err(error) => return away(&error),
    };
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        let wrong = Wrong::new("form", "is too large");
        return question(StatusCode::PAYLOAD_TOO_LARGE, &stored, &ask, &[wrong]);
    };
    let sent: Vec<(String, String)> = form_urlencoded::parse(&body.to_bytes())
        .into_owned()
        .collect();
    let value = |name: &str| {
        let found = sent.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let approves = match value("decision").as_deref() {
        Some("approve") => true,
        Some("reject") => false,
        _ => {
            let wrong = Wrong::new("decision", "must be `approve` or `reject`");
            return question(StatusCode::UNPROCESSABLE_ENTITY, &stored, &ask, &[wrong]);
        }
    };
    let fields: Vec<_> = sent
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("form.")?.to_owned(), value.clone())))
        .collect();
    let choice = Choice {
        approves,
        by: approver(&stored, &ask).map_or_else(|| value("by").unwrap_or_default(), str::to_owned),
        comment: value("comment"),
        form: ask.form.as_ref().map(|schema| form::typed(schema, &fields)),
        via: Via::Link,
        key: None,
        origin: origin(peer, &parts.headers),
    };
    match decisions.decide(&stored, &choice).await {
        Ok(_) => thanks(&ask, approves),
        Err(refused) => refusal(refused, &stored, &ask),
    }
}

/// The approver a link was made for; none where the approval names nobody.
fn approver<'a>(stored: &StoredApproval, ask: &'a Ask) -> Option<&'a str> {
    let index = usize::try_from(stored.approver?).ok()?;
    ask.approvers.get(index).map(String::as_str)
}

fn thanks(ask: &Ask, approves: bool) -> Response {
    let word = if approves { "approved" } else { "rejected" };
    let title = escaped(&ask.title);
    let text = format!("<h1>{title}</h1><p>You have {word} this. Thank you.</p>");
    page(StatusCode::OK, &ask.title, &text)
}

fn refusal(refused: Refused, stored: &StoredApproval, ask: &Ask) -> Response {
    let (status, why) = match refused {
        Refused::Decided(why) => (StatusCode::CONFLICT, why),
        Refused::Over(why) => (StatusCode::GONE, why),
        Refused::NotAllowed(why) => (StatusCode::FORBIDDEN, why),
        Refused::Wrong(wrong) => {
            return question(StatusCode::UNPROCESSABLE_ENTITY, stored, ask, &wrong);
        }
        Refused::Store(error) => return away(&error),
        Refused::Unavailable(unavailable) => {
            return away(&crate::store::Error::Unavailable(unavailable.into()));
        }
    };
    let (title, why) = (escaped(&ask.title), escaped(&why));
    let text = format!("<h1>{title}</h1><p class=wrong>Nothing was changed: {why}.</p>");
    page(status, &ask.title, &text)
}

/// The question, with the form where it can still be decided.
fn question(status: StatusCode, stored: &StoredApproval, ask: &Ask, wrong: &[Wrong]) -> Response {
    let now = Timestamp::now();
    let mut text = format!("<h1>{}</h1>", escaped(&ask.title));
    if let Some(message) = &ask.message {
        let _ = write!(text, "<pre>{}</pre>", escaped(message));
    }
    if let Some(requested_by) = &ask.requested_by {
        let _ = write!(text, "<p>Asked by {}.</p>", escaped(requested_by));
    }
    for wrong in wrong {
        let (field, message) = (escaped(&wrong.field), escaped(&wrong.message));
        let _ = write!(text, "<p class=wrong>{field} {message}.</p>");
    }
    let standing = standing(stored, now);
    let status = match standing {
        Standing::Pending => {
            text.push_str(&filled_in(stored, ask));
            status
        }
        _ => {
            let _ = write!(text, "<p>It is {} already.</p>", standing.word());
            match standing {
                Standing::Expired | Standing::Cancelled => StatusCode::GONE,
                _ => status,
            }
        }
    };
    page(status, &ask.title, &text)
}

fn filled_in(stored: &StoredApproval, ask: &Ask) -> String {
    let mut text = String::from("<form method=post>");
    match approver(stored, ask) {
        Some(name) => {
            let _ = write!(text, "<p>You decide as {}.</p>", escaped(name));
        }
        None => text.push_str(
            "<label for=by>Your name</label><input id=by name=by required maxlength=200>",
        ),
    }
    if let Some(schema) = &ask.form {
        let required = schema["required"].as_array();
        for (name, field) in form::fields(schema) {
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
            text.push_str(&input(name, field, is_required));
        }
    }
    text.push_str(
        "<label for=comment>Comment</label>\
         <textarea id=comment name=comment rows=3 maxlength=4000></textarea>\
         <p><button name=decision value=approve>Approve</button>\
         <button name=decision value=reject formnovalidate>Reject</button></p></form>",
    );
    let (namespace, name) = (escaped(&stored.namespace), escaped(&stored.name));
    let until = stored.expires_at;
    let _ = write!(text, "<small>{namespace}/{name}, until {until}</small>");
    text
}

fn input(name: &str, field: &Value, is_required: bool) -> String {
    let id = escaped(name);
    let label = escaped(field["title"].as_str().unwrap_or(name));
    let mut text = format!("<label for=\"form.{id}\">{label}</label>");
    if let Some(description) = field["description"].as_str() {
        let _ = write!(text, "<small>{}</small><br>", escaped(description));
    }
    let required = if is_required { " required" } else { "" };
    let named = format!("id=\"form.{id}\" name=\"form.{id}\"");
    let value = match &field["default"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if let Some(choices) = field["enum"].as_array() {
        let _ = write!(
            text,
            "<select {named}{required}><option value=\"\"></option>"
        );
        for choice in choices {
            let choice = choice
                .as_str()
                .map_or_else(|| choice.to_string(), str::to_owned);
            let selected = if choice == value { " selected" } else { "" };
            let choice = escaped(&choice);
            let _ = write!(
                text,
                "<option value=\"{choice}\"{selected}>{choice}</option>"
            );
        }
        text.push_str("</select>");
        return text;
    }
    let value = escaped(&value);
    let _ = match form::kind(field) {
        "boolean" => {
            let checked = if value == "true" { " checked" } else { "" };
            write!(text, "<input type=checkbox value=true {named}{checked}>")
        }
        "integer" => write!(
            text,
            "<input type=number step=1 value=\"{value}\" {named}{required}>"
        ),
        "number" => write!(
            text,
            "<input type=number step=any value=\"{value}\" {named}{required}>"
        ),
        _ => {
            let kind = match field["format"].as_str() {
                Some("date") => "date",
                Some("email") => "email",
                _ => "text",
            };
            write!(
                text,
                "<input type={kind} value=\"{value}\" {named}{required}>"
            )
        }
    };
    text
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style><body>{body}</body></html>"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let mut response = (status, headers, text).into_response();
    let robots = HeaderValue::from_static("noindex");
    response.headers_mut().insert("x-robots-tag", robots);
    response
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
