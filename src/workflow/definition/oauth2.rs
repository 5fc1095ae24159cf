//! `oauth2`: how a definition says what an access token is asked for with.

use super::Endpoint;
use crate::expression::Template;

/// `oauth2` with its members.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// `authority`.
    pub authority: Endpoint,
    /// All members, to be evaluated; their shape has been checked as far as it is literal.
    pub members: Template,
}

/// How a client proves who it is to the token endpoint (OpenID Connect Core section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_post`: in the body.
    #[default]
    Post,
    /// `client_secret_basic`: in the header.
    Basic,
    /// `none`: its id alone.
    Nothing,
}

impl ClientAuthentication {
    /// Their names, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 3] = ["client_secret_post", "client_secret_basic", "none"];
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Post, Self::Basic, Self::Nothing];
}

/// How a token request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenEncoding {
    /// `application/x-www-form-urlencoded`, as the standard says.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

impl TokenEncoding {
    /// Their names, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 2] = ["application/x-www-form-urlencoded", "application/json"];
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Form, Self::Json];
}

/// Where a token endpoint is where `endpoints.token` does not say.
pub const TOKEN_PATH_DEFAULT: &str = "/oauth2/token";

/// The address of a token endpoint: appended to the authority, not resolved against it, for an
/// authority may have a path.
#[must_use]
pub fn token_uri(authority: &str, path: &str) -> String {
    let authority = authority.trim_end_matches('/');
    format!("{authority}/{}", path.trim_start_matches('/'))
}
