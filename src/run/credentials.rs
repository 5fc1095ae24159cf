//! Credentials given in a definition, evaluated: what a call authenticates with.
//!
//! The run makes them, `call` uses them; destinations resolve theirs into the same token request.

use secrecy::SecretString;

use crate::workflow::definition::{ClientAuthentication, TokenEncoding};

/// Credentials of a call.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// User name and password (RFC 7617).
    Basic(SecretString, SecretString),
    /// A token (RFC 6750).
    Bearer(SecretString),
    /// User name and password that answer a challenge (RFC 7616).
    Digest(SecretString, SecretString),
    /// A token to be asked for first (RFC 6749).
    OAuth2(Box<TokenRequest>),
}

/// What an access token is asked for with (RFC 6749 sections 4.4 and 6).
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The token endpoint.
    pub uri: String,
    /// The grant.
    pub grant: Grant,
    /// `client_id`.
    pub client_id: Option<SecretString>,
    /// `client_secret`.
    pub client_secret: Option<SecretString>,
    /// How the client proves who it is.
    pub client_authentication: ClientAuthentication,
    /// How the request is written.
    pub encoding: TokenEncoding,
    /// `scope`, joined by blanks.
    pub scopes: Vec<String>,
    /// `audience`, joined by blanks.
    pub audiences: Vec<String>,
    /// Who may have issued a token that is a JWT; empty: anyone.
    pub issuers: Vec<String>,
}

/// A grant of RFC 6749.
#[derive(Clone, Debug)]
pub enum Grant {
    /// `client_credentials`.
    ClientCredentials,
    /// `refresh_token`, with the first one; what replaces it is remembered with the token.
    RefreshToken(SecretString),
}
