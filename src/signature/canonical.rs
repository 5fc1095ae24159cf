//! Named canonical forms: how some senders turn a request into the text they sign.
//!
//! The only code in this crate that exists for particular senders, because no template says it.
//! Called by the filters of `template`. Each is a plain function of the request.

use std::collections::BTreeMap;

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::pointer::{Found, Pointer, select};
use super::template::Scope;
use super::view::{View, text};

/// What RFC 3986 encodes: everything but its unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What JavaScript's `encodeURIComponent` encodes.
const BEYOND_COMPONENT: &AsciiSet = &RESERVED
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What JavaScript's `encodeURI` encodes.
const BEYOND_URI: &AsciiSet = &BEYOND_COMPONENT
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#');

/// Form fields looked at; a request with more has no canonical form.
const FIELDS_MAX: usize = 1_000;

/// A URL with and without its port, whichever way it is registered (Twilio tries both).
pub(super) fn port_variant(url: &str, variant: usize) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let colon = authority.rfind(':');
    let port = colon.filter(|at| {
        let digits = &authority[at + 1..];
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let bare = port.map_or(authority, |at| &authority[..at]);
    match (variant, port) {
        (0, Some(_)) => Some(url.to_owned()),
        (0, None) => {
            let default = if scheme.eq_ignore_ascii_case("https") {
                443
            } else {
                80
            };
            Some(format!("{scheme}://{bare}:{default}{tail}"))
        }
        _ => Some(format!("{scheme}://{bare}{tail}")),
    }
}

/// A URL without its query.
pub(super) fn strip_query(url: &str) -> &str {
    url.find(['?', '#']).map_or(url, |at| &url[..at])
}

/// Form fields in the order of their names, each name followed by its values; equal values of one
/// name count once (Twilio).
pub(super) fn sorted_concat(form: &[u8]) -> Option<String> {
    let mut fields: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for (count, (name, value)) in form_urlencoded::parse(form).enumerate() {
        if count == FIELDS_MAX {
            return None;
        }
        fields
            .entry(name.into_owned())
            .or_default()
            .insert(value.into_owned());
    }
    let mut joined = String::new();
    for (name, values) in fields {
        for value in values {
            joined.push_str(&name);
            joined.push_str(&value);
        }
    }
    Some(joined)
}

/// A URL with the characters decoded that HubSpot decodes before it signs.
pub(super) fn hubspot_uri(url: &str) -> String {
    const DECODED: [(&str, char); 12] = [
        ("3A", ':'),
        ("2F", '/'),
        ("3F", '?'),
        ("40", '@'),
        ("21", '!'),
        ("24", '$'),
        ("27", '\''),
        ("28", '('),
        ("29", ')'),
        ("2A", '*'),
        ("2C", ','),
        ("3B", ';'),
    ];
    let mut decoded = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let code = rest.get(..2).unwrap_or_default();
        let known = DECODED
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(code));
        match known {
            Some((_, character)) => {
                decoded.push(*character);
                rest = &rest[2..];
            }
            None => decoded.push('%'),
        }
    }
    decoded.push_str(rest);
    decoded
}

/// Method, path and query as Atlassian Connect hashes them into the claim `qsh`. The path is
/// relative to the app's base URL, the parameter `base_url`.
pub(super) fn connect(view: &View<'_>, scope: &Scope<'_>) -> Option<String> {
    let (path, query) = target(view)?;
    let base = (scope.secret)("base_url").and_then(|base| String::from_utf8(base).ok());
    let base = base.and_then(|base| Some(url::Url::parse(&base).ok()?.path().to_owned()));
    let base = base.unwrap_or_default();
    let base = base.trim_end_matches('/');
    let below = path
        .strip_prefix(base)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = below.unwrap_or(&path).replace('&', "%26");
    let path = path.strip_suffix('/').unwrap_or(&path);
    let path = if path.is_empty() { "/" } else { path };
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (count, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        if count == FIELDS_MAX {
            return None;
        }
        if name != "jwt" {
            fields
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }
    }
    let fields = fields.into_iter().map(|(name, mut values)| {
        values.sort_unstable();
        let values: Vec<_> = values.iter().map(|value| encode(value)).collect();
        format!("{}={}", encode(&name), values.join(","))
    });
    let query: Vec<_> = fields.collect();
    let method = view.delivery.method.as_str().to_ascii_uppercase();
    Some(format!("{method}&{path}&{}", query.join("&")))
}

/// Method, path with query, the signed headers and the body, one a line (Contentful). The names of
/// the signed headers and the time are always among them. The query is escaped twice over.
pub(super) fn contentful(view: &View<'_>) -> Option<Vec<u8>> {
    const SIGNED: &str = "x-contentful-signed-headers";
    const TIME: &str = "x-contentful-timestamp";
    let names = view.header(&[HeaderName::from_static(SIGNED)])?;
    let names = std::str::from_utf8(names).ok()?.split(',');
    let mut names: Vec<_> = names.map(|name| name.trim().to_ascii_lowercase()).collect();
    names.extend([SIGNED.to_owned(), TIME.to_owned()]);
    names.sort_unstable();
    names.dedup();
    let listed = names.join(",");
    let mut lines = Vec::new();
    for name in &names {
        let value = view.header(&[name.parse().ok()?])?;
        let value = std::str::from_utf8(value).ok()?.trim();
        let value = if name == SIGNED { &listed } else { value };
        lines.push(format!("{name}:{value}"));
    }
    let (path, query) = target(view)?;
    let path = utf8_percent_encode(&path, BEYOND_URI);
    let query = utf8_percent_encode(&query, BEYOND_COMPONENT).to_string();
    let query = utf8_percent_encode(&query, BEYOND_URI).to_string();
    let mark = if query.is_empty() { "" } else { "?" };
    let method = view.delivery.method.as_str();
    let head = format!("{method}\n{path}{mark}{query}\n{}\n", lines.join(";"));
    Some([head.as_bytes(), view.delivery.body].concat())
}

/// The members of an Amazon SNS message that its signature covers, name and value a line each.
pub(super) fn sns(body: &[u8]) -> Option<String> {
    const NOTIFICATION: [&str; 6] = [
        "Message",
        "MessageId",
        "Subject",
        "Timestamp",
        "TopicArn",
        "Type",
    ];
    const CONFIRMATION: [&str; 7] = [
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ];
    let pointers = |names: &[&str]| -> Option<Vec<Pointer>> {
        let pointers = names.iter().map(|name| Pointer::parse(&format!("/{name}")));
        pointers.collect()
    };
    let kind = select(body, &pointers(&["Type"])?);
    let names: &[&str] = match kind.first()?.as_ref().and_then(text)? {
        "Notification" => &NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &CONFIRMATION,
        _ => return None,
    };
    let mut lines = String::new();
    for (name, value) in names.iter().zip(select(body, &pointers(names)?)) {
        let value = match value {
            Some(Found::Text(value)) => value,
            // A notification need not have a subject; everything else must be there.
            None if *name == "Subject" => continue,
            _ => return None,
        };
        lines.push_str(&format!("{name}\n{value}\n"));
    }
    Some(lines)
}

/// The values of the headers that a text names, between spaces, joined by `separator` (Hook0).
pub(super) fn header_values(names: &str, separator: &str, view: &View<'_>) -> Option<Vec<u8>> {
    let values = names
        .split_ascii_whitespace()
        .map(|name| view.header(&[name.parse().ok()?]));
    let values: Vec<_> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.join(separator.as_bytes()))
}

/// Path and query of the registered URL, or as received where none is registered.
fn target(view: &View<'_>) -> Option<(String, String)> {
    let whole = match view.delivery.url {
        None => view.delivery.path_and_query,
        Some(url) => {
            let rest = url.split_once("://")?.1;
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
    };
    let whole = whole.split('#').next()?;
    let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
    Some((path.to_owned(), query.to_owned()))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
