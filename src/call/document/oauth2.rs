//! `authentication.oauth2` of a destination: what its access tokens are asked for with.

use secrecy::SecretString;

use super::authentication::{Authentication, Username, username};
use crate::call::egress;
use crate::call::reference::reference;
use crate::run::{Grant, TokenRequest};
use crate::secret::Reference;
use crate::workflow::definition::{
    ClientAuthentication, TOKEN_PATH_DEFAULT, TokenEncoding, token_uri,
};
use crate::workflow::document::{Object, Place};

/// Grants a destination can use.
const GRANTS: [&str; 2] = ["client_credentials", "refresh_token"];

/// Scopes, audiences or issuers at most.
const TEXTS_MAX: usize = 64;

/// A checked `oauth2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The token endpoint: `authority` and `endpoints.token`.
    pub uri: String,
    /// `refreshToken`, with the grant `refresh_token`.
    pub refresh_token: Option<Reference>,
    /// `client.id`.
    pub client_id: Option<Username>,
    /// `client.secret`.
    pub client_secret: Option<Reference>,
    /// `client.authentication`.
    pub client_authentication: ClientAuthentication,
    /// `request.encoding`.
    pub encoding: TokenEncoding,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `audiences`.
    pub audiences: Vec<String>,
    /// `issuers`.
    pub issuers: Vec<String>,
}

impl OAuth2 {
    /// The request with the values of its references.
    ///
    /// # Errors
    /// What `resolve` says where a reference has no value.
    pub fn resolved<E>(
        &self,
        resolve: impl Fn(&Reference) -> Result<SecretString, E>,
    ) -> Result<TokenRequest, E> {
        Ok(TokenRequest {
            uri: self.uri.clone(),
            grant: match &self.refresh_token {
                Some(token) => Grant::RefreshToken(resolve(token)?),
                None => Grant::ClientCredentials,
            },
            client_id: match &self.client_id {
                Some(Username::Plain(id)) => Some(id.as_str().into()),
                Some(Username::Secret(reference)) => Some(resolve(reference)?),
                None => None,
            },
            client_secret: self.client_secret.as_ref().map(&resolve).transpose()?,
            client_authentication: self.client_authentication,
            encoding: self.encoding,
            scopes: self.scopes.clone(),
            audiences: self.audiences.clone(),
            issuers: self.issuers.clone(),
        })
    }
}

pub(super) fn read(place: &Place<'_>) -> Option<Authentication> {
    let object = place.object()?;
    let authority = object.required("authority").and_then(|at| authority(&at));
    let path = match object.optional("endpoints").and_then(|at| at.object()) {
        Some(endpoints) => {
            let path = endpoints.optional_string("token");
            endpoints.finish();
            path
        }
        None => None,
    };
    let grant = object.required("grant").and_then(|at| at.one_of(&GRANTS));
    let refresh_token = object.optional("refreshToken");
    match (grant, &refresh_token) {
        (Some(1), None) => place.fault_with(
            "the grant `refresh_token` needs a `refreshToken` to begin with",
            "write refreshToken: { secret: name }",
        ),
        (Some(0), Some(at)) => at.fault("only the grant `refresh_token` has a `refreshToken`"),
        _ => {}
    }
    let refresh_token = refresh_token.and_then(|at| reference(&at));
    let client = object.required("client").and_then(|at| client(&at));
    let encoding = match object.optional("request").and_then(|at| at.object()) {
        Some(request) => {
            let encoding = request.optional("encoding");
            let encoding = encoding.and_then(|at| at.one_of(&TokenEncoding::NAMES));
            request.finish();
            encoding.unwrap_or(0)
        }
        None => 0,
    };
    let (scopes, audiences, issuers) = (
        texts(&object, "scopes"),
        texts(&object, "audiences"),
        texts(&object, "issuers"),
    );
    object.finish();
    grant?;
    let client = client?;
    Some(Authentication::OAuth2(Box::new(OAuth2 {
        uri: token_uri(authority?, path.unwrap_or(TOKEN_PATH_DEFAULT)),
        refresh_token,
        client_id: Some(client.id),
        client_secret: client.secret,
        client_authentication: client.authentication,
        encoding: TokenEncoding::ALL[encoding],
        scopes: scopes?,
        audiences: audiences?,
        issuers: issuers?,
    })))
}

fn authority<'a>(place: &Place<'a>) -> Option<&'a str> {
    let text = place.string()?;
    if let Err(refusal) = egress::parse(text) {
        place.fault_with(
            refusal.to_string(),
            "write it like https://login.example.com",
        );
        return None;
    }
    Some(text)
}

struct Client {
    id: Username,
    secret: Option<Reference>,
    authentication: ClientAuthentication,
}

fn client(place: &Place<'_>) -> Option<Client> {
    let object = place.object()?;
    let id = object.required("id").and_then(|at| username(&at));
    let secret = object.optional("secret");
    let authentication = object.optional("authentication");
    let authentication =
        authentication.map_or(Some(0), |at| at.one_of(&ClientAuthentication::NAMES));
    let authentication = authentication.and_then(|at| ClientAuthentication::ALL.get(at).copied());
    if secret.is_none() && authentication.is_some_and(|it| it != ClientAuthentication::Nothing) {
        place.fault_with(
            "the client has no `secret`",
            "write secret: { secret: name }, or authentication: none",
        );
    }
    let secret = secret.and_then(|at| reference(&at));
    object.finish();
    Some(Client {
        id: id?,
        secret,
        authentication: authentication?,
    })
}

fn texts(object: &Object<'_>, name: &'static str) -> Option<Vec<String>> {
    let Some(place) = object.optional(name) else {
        return Some(Vec::new());
    };
    let items = place.array()?;
    if items.len() > TEXTS_MAX {
        place.fault(format!("`{name}` has at most {TEXTS_MAX} items"));
    }
    items
        .iter()
        .map(|item| item.string().map(str::to_owned))
        .collect()
}
