//! Credentials: from the definition as evaluated, or from the destination's references.
//!
//! A credential is only ever put into a request for its own origin: a declared one because a
//! destination is chosen by its base URL, a given one because the workflow names both. Values
//! become header values marked as sensitive, so that nothing prints them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use super::{Prepared, append};
use crate::call::Document;
use crate::call::document::{Authentication, Carrier, Username};
use crate::call::exchange::Exchange;
use crate::call::failure::Failure;
use crate::run::Credentials;
use crate::secret::{Reference, Secrets};

/// Adds the credentials a workflow gives; they win over a header it also gives.
pub(super) fn given(credentials: &Credentials, prepared: &mut Prepared) -> Result<(), Failure> {
    let value = match credentials {
        Credentials::Basic(username, password) => {
            basic(username.expose_secret(), password.expose_secret())
        }
        Credentials::Bearer(token) => bearer(token),
        Credentials::Digest(username, password) => {
            let exchange = Exchange::Challenge(username.clone(), password.clone());
            return defer(prepared, exchange);
        }
        Credentials::OAuth2(request) => {
            return defer(prepared, Exchange::Token(request.clone(), None));
        }
    };
    insert(&mut prepared.headers, AUTHORIZATION, value.as_deref())
        .ok_or_else(|| Failure::unauthenticated("the credentials given cannot be sent in a header"))
}

/// Leaves the header to an exchange; one that was given by hand would only be replaced.
fn defer(prepared: &mut Prepared, exchange: Exchange) -> Result<(), Failure> {
    prepared.headers.remove(AUTHORIZATION);
    prepared.exchange = Some(Box::new(exchange));
    Ok(())
}

/// Adds the credentials of a destination, unless the workflow gave its own in the same place.
pub(super) fn declared(
    document: &Document,
    secrets: &Secrets,
    prepared: &mut Prepared,
) -> Result<(), Failure> {
    let Some(authentication) = &document.authentication else {
        return Ok(());
    };
    if prepared.exchange.is_some() && authentication.is_in(&AUTHORIZATION) {
        return Ok(());
    }
    let resolve = |reference: &Reference| {
        secrets.resolve(reference).ok_or_else(|| {
            Failure::unauthenticated(format!(
                "the destination `{}` needs {reference}, which has no value; set it and replay",
                document.name
            ))
        })
    };
    let named = |username: &Username| match username {
        Username::Plain(name) => Ok(SecretString::from(name.as_str())),
        Username::Secret(reference) => resolve(reference),
    };
    let (name, value) = match authentication {
        Authentication::ApiKey {
            carrier: Carrier::Query(name),
            value,
        } => {
            let key = resolve(value)?;
            append(
                &mut prepared.url,
                std::iter::once((name.as_str(), key.expose_secret())),
            );
            prepared.secret_parameter = Some(name.clone());
            return Ok(());
        }
        Authentication::ApiKey {
            carrier: Carrier::Header(name),
            value,
        } => (
            name.clone(),
            Some(resolve(value)?.expose_secret().to_owned()),
        ),
        Authentication::Basic { username, password } => {
            let (username, password) = (named(username)?, resolve(password)?);
            let value = basic(username.expose_secret(), password.expose_secret());
            (AUTHORIZATION, value)
        }
        Authentication::Bearer { token } => (AUTHORIZATION, bearer(&resolve(token)?)),
        Authentication::Digest { .. } | Authentication::OAuth2(_)
            if prepared.headers.contains_key(AUTHORIZATION) =>
        {
            return Ok(());
        }
        Authentication::Digest { username, password } => {
            let exchange = Exchange::Challenge(named(username)?, resolve(password)?);
            return defer(prepared, exchange);
        }
        // Once the request is complete.
        Authentication::Signed(_) => return Ok(()),
        Authentication::OAuth2(policy) => {
            let request = Box::new(policy.resolved(resolve)?);
            return defer(prepared, Exchange::Token(request, None));
        }
    };
    let there = prepared.headers.get(&name);
    if there.is_some_and(|value| document.headers.get(&name) != Some(value)) {
        return Ok(());
    }
    insert(&mut prepared.headers, name, value.as_deref()).ok_or_else(|| {
        Failure::unauthenticated(format!(
            "the credentials of the destination `{}` cannot be sent in a header",
            document.name
        ))
    })
}

fn bearer(token: &SecretString) -> Option<String> {
    Some(format!("Bearer {}", token.expose_secret()))
}

/// RFC 7617; a colon in the user name would change who logs in.
fn basic(username: &str, password: &str) -> Option<String> {
    let pair = (!username.contains(':')).then(|| format!("{username}:{password}"))?;
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) -> Option<()> {
    let mut value = HeaderValue::from_str(value?).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(())
}
