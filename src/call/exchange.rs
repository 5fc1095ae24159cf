//! Credentials that take an exchange of their own: a token that is asked for first, or the answer
//! to a challenge. Each is renewed once after a 401; the second one is final.

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::egress;
use super::failure::Failure;
use super::perform::Carrier;
use super::registry::{Destination, Destinations};
use super::request::Prepared;
use crate::run::TokenRequest;

/// What is to be exchanged for a credential.
#[derive(Clone)]
pub(super) enum Exchange {
    /// This for a token; with the version of the token that was sent last.
    Token(Box<TokenRequest>, Option<i32>),
    /// A user name and password for an answer to a challenge (RFC 7616).
    Challenge(SecretString, SecretString),
}

impl Destinations {
    /// Adds a token where one is needed.
    pub(super) async fn authorize(
        &self,
        prepared: &mut Prepared,
        destination: &Destination,
        carrier: &mut impl Carrier,
    ) -> Result<(), Failure> {
        let Some(Exchange::Token(request, used)) = prepared.exchange.as_deref_mut() else {
            return Ok(());
        };
        let url = egress::parse(&request.uri).map_err(Failure::refused)?;
        let client = self
            .client_for(&url, destination)
            .map_err(Failure::refused)?;
        let getting = carrier.token(&self.tokens, client, request, *used);
        let (access, version) = getting.await?;
        *used = Some(version);
        let value = format!("Bearer {}", access.expose_secret());
        insert(&mut prepared.headers, &value)
    }

    /// Whether the request is to be sent again after a 401, with another credential.
    pub(super) async fn reauthorize(
        &self,
        prepared: &mut Prepared,
        answer: HeaderMap,
        destination: &Destination,
        carrier: &mut impl Carrier,
    ) -> Result<bool, Failure> {
        match prepared.exchange.as_deref() {
            None => return Ok(false),
            Some(Exchange::Token(..)) => self.authorize(prepared, destination, carrier).await?,
            Some(Exchange::Challenge(username, password)) => {
                let Some(value) = respond(prepared, &answer, (username, password)) else {
                    return Ok(false);
                };
                insert(&mut prepared.headers, &value)?;
            }
        }
        prepared.exchange = None;
        Ok(true)
    }
}

/// The answer to the first challenge that can be answered.
fn respond(
    prepared: &Prepared,
    answer: &HeaderMap,
    (username, password): (&SecretString, &SecretString),
) -> Option<String> {
    let mut uri = prepared.url.path().to_owned();
    if let Some(query) = prepared.url.query() {
        uri.push('?');
        uri.push_str(query);
    }
    let context = AuthContext::new_with_method(
        username.expose_secret(),
        password.expose_secret(),
        uri,
        prepared.body.as_deref(),
        HttpMethod::from(prepared.method.as_str().to_owned()),
    );
    answer.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let challenge = value.to_str().ok()?;
        let scheme = challenge.get(..6)?;
        let digest = scheme.eq_ignore_ascii_case("digest");
        let mut challenge = digest.then(|| WwwAuthenticateHeader::parse(challenge).ok())??;
        Some(challenge.respond(&context).ok()?.to_header_string())
    })
}

fn insert(headers: &mut HeaderMap, value: &str) -> Result<(), Failure> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Failure::unauthenticated("the credentials cannot be sent in a header"))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}
