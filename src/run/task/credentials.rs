//! Credentials from the templates of a definition, or from an object secret with the same members.

use secrecy::SecretString;

use super::request::uri;
use crate::expression::{Template, Value};
use crate::problem::Kind;
use crate::run::fault::Fault;
use crate::run::scope::View;
use crate::run::{Credentials, Grant, TokenRequest};
use crate::workflow::definition::{
    Authentication, ClientAuthentication, TOKEN_PATH_DEFAULT, TokenEncoding, token_uri,
};

/// Evaluates credentials.
pub(super) fn make(
    view: &View<'_>,
    authentication: &Authentication,
    input: &Value,
) -> Result<Credentials, Fault> {
    let text = |template: &Template, what: &str| {
        view.template(template, input)?
            .as_str()
            .map(SecretString::from)
            .ok_or_else(|| view.wrong(format!("`{what}` did not give a string")))
    };
    match authentication {
        Authentication::Basic { username, password } => Ok(Credentials::Basic(
            text(username, "username")?,
            text(password, "password")?,
        )),
        Authentication::Bearer { token } => Ok(Credentials::Bearer(text(token, "token")?)),
        Authentication::Digest { username, password } => Ok(Credentials::Digest(
            text(username, "username")?,
            text(password, "password")?,
        )),
        Authentication::OAuth2(policy) => {
            let authority = uri(view, &policy.authority, input)?;
            let members = view.template(&policy.members, input)?;
            token_request(&authority, &members)
                .map(|request| Credentials::OAuth2(Box::new(request)))
                .map_err(|wrong| view.wrong(format!("of the authentication `oauth2`, {wrong}")))
        }
        Authentication::Secret { scheme, name } => of_secret(view, scheme, name),
    }
}

fn of_secret(view: &View<'_>, scheme: &str, name: &str) -> Result<Credentials, Fault> {
    let value = view.secret(name)?;
    let refuse = |what: String| {
        let detail = format!("secret `{name}` {what}, which {scheme} authentication needs");
        Fault::new(Kind::Configuration, detail)
    };
    let member = |member: &str| {
        text(&value, member).ok_or_else(|| refuse(format!("has no string `{member}`")))
    };
    match scheme {
        "basic" => Ok(Credentials::Basic(member("username")?, member("password")?)),
        "digest" => Ok(Credentials::Digest(
            member("username")?,
            member("password")?,
        )),
        "oauth2" => {
            let authority = value.get("authority");
            let authority = authority.as_ref().and_then(Value::as_str);
            let authority =
                authority.ok_or_else(|| refuse("has no string `authority`".to_owned()))?;
            token_request(authority, &value)
                .map(|request| Credentials::OAuth2(Box::new(request)))
                .map_err(|wrong| {
                    let detail = format!("of secret `{name}`, {wrong}");
                    Fault::new(Kind::Configuration, detail)
                })
        }
        _ => Ok(Credentials::Bearer(member("token")?)),
    }
}

fn text(value: &Value, member: &str) -> Option<SecretString> {
    value
        .get(member)
        .as_ref()
        .and_then(Value::as_str)
        .map(SecretString::from)
}

/// Reads the evaluated members of `oauth2`; the error names the member, never a value.
fn token_request(authority: &str, members: &Value) -> Result<TokenRequest, String> {
    let client = members.get("client").unwrap_or_default();
    let path = members.get("endpoints").and_then(|it| it.get("token"));
    let path = path.as_ref().and_then(Value::as_str);
    let grant = members.get("grant");
    if grant.as_ref().and_then(Value::as_str) != Some("client_credentials") {
        return Err("`grant` is not `client_credentials`".to_owned());
    }
    let encoding = members.get("request").and_then(|it| it.get("encoding"));
    let authentication = client.get("authentication");
    Ok(TokenRequest {
        uri: token_uri(authority, path.unwrap_or(TOKEN_PATH_DEFAULT)),
        grant: Grant::ClientCredentials,
        client_id: text(&client, "id"),
        client_secret: text(&client, "secret"),
        client_authentication: word(
            authentication,
            &ClientAuthentication::NAMES,
            &ClientAuthentication::ALL,
        )
        .ok_or("`client.authentication` is none that is supported")?,
        encoding: word(encoding, &TokenEncoding::NAMES, &TokenEncoding::ALL)
            .ok_or("`request.encoding` is none that is supported")?,
        scopes: texts(members, "scopes")?,
        audiences: texts(members, "audiences")?,
        issuers: texts(members, "issuers")?,
    })
}

/// What a word stands for; the default where there is none.
fn word<T: Copy + Default>(value: Option<Value>, names: &[&str], all: &[T]) -> Option<T> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Some(T::default());
    };
    let at = names.iter().position(|name| value.as_str() == Some(name))?;
    all.get(at).copied()
}

/// A list of texts, or one alone.
fn texts(members: &Value, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = members.get(name).filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let items = value.items().unwrap_or_else(|| vec![value]);
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{name}` is not a list of strings"))
}
