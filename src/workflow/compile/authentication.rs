//! `authentication`: credentials a definition gives to a call, inline or by a name of `use`.

use super::{Context, call, field, unsupported};
use crate::workflow::definition::{
    Authentication, ClientAuthentication, Endpoint, OAuth2, TokenEncoding,
};
use crate::workflow::document::{Content, Object, Place};

/// Schemes that can be used.
const SCHEMES: [&str; 4] = ["basic", "bearer", "digest", "oauth2"];
/// Grants of the language that have their place later.
const GRANTS_LATER: [&str; 3] = [
    "password",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

/// `authentication`: a policy, or `{use: name}` of `use.authentications`.
pub fn reference(place: &Place<'_>, context: &Context<'_>) -> Option<Authentication> {
    let Some(name) = place.node().get("use") else {
        return policy(place, context);
    };
    let object = place.object()?;
    let reference = object.required("use");
    object.finish();
    let reference = reference?;
    let policies = &context.components.authentications;
    let name = name.as_str().or_else(|| reference.string())?;
    if let Some(component) = policies.find(name) {
        return policy(component, context);
    }
    let hint = reference
        .meant(name, policies.names())
        .unwrap_or_else(|| "name a policy there, or write {bearer: {token: …}}".to_owned());
    reference.fault_with(format!("`use.authentications` has no `{name}`"), hint);
    None
}

/// A policy, inline or in `use.authentications`.
pub fn policy(place: &Place<'_>, context: &Context<'_>) -> Option<Authentication> {
    let object = place.object()?;
    if let Some(place) = object.optional("oidc") {
        unsupported(&place, "`oidc` authentication in a workflow");
    }
    if let Some(place) = object.optional("certificate") {
        place.fault_with(
            "the language has no certificates any more",
            "use a destination",
        );
    }
    let given = SCHEMES.map(|name| (name, object.optional(name)));
    if object.len() != 1 {
        place.fault_with(
            "an authentication has exactly one scheme",
            "write one of basic, bearer, digest, oauth2",
        );
    }
    object.finish();
    let (name, place) = given
        .into_iter()
        .find_map(|(name, place)| Some((name, place?)))?;
    scheme(name, &place, context)
}

fn scheme(name: &'static str, place: &Place<'_>, context: &Context<'_>) -> Option<Authentication> {
    let object = place.object()?;
    if let Some(place) = object.optional("use") {
        let secret = context.components.secret(&place);
        object.finish();
        return Some(Authentication::Secret {
            scheme: name.to_owned(),
            name: secret?,
        });
    }
    let member = |name: &'static str| {
        let place = object.required(name)?;
        let _ = place.string()?;
        field::template(&place, context)
    };
    let policy = match name {
        "oauth2" => return oauth2(place, object, context),
        "bearer" => member("token").map(|token| Authentication::Bearer { token }),
        _ => {
            let (username, password) = (member("username"), member("password"));
            username.zip(password).map(|(username, password)| {
                if name == "basic" {
                    Authentication::Basic { username, password }
                } else {
                    Authentication::Digest { username, password }
                }
            })
        }
    };
    object.finish();
    policy
}

fn oauth2(place: &Place<'_>, object: Object<'_>, context: &Context<'_>) -> Option<Authentication> {
    let authority = object
        .required("authority")
        .and_then(|place| authority(&place, context));
    let granted = object.required("grant").is_some_and(|place| grant(&place));
    if let Some(client) = object.optional("client").and_then(|place| place.object()) {
        for name in ["id", "secret"] {
            client.optional(name).filter(is_text);
        }
        if let Some(place) = client.optional("assertion") {
            unsupported(&place, "a client assertion");
        }
        if let Some(place) = client.optional("authentication") {
            client_authentication(&place);
        }
        client.finish();
    }
    if let Some(endpoints) = object.optional("endpoints").and_then(|it| it.object()) {
        for name in ["token", "revocation", "introspection"] {
            endpoints.optional(name).filter(is_text);
        }
        endpoints.finish();
    }
    if let Some(request) = object.optional("request").and_then(|it| it.object()) {
        if let Some(place) = request.optional("encoding").filter(is_literal) {
            let _ = place.one_of(&TokenEncoding::NAMES);
        }
        request.finish();
    }
    for name in ["scopes", "audiences", "issuers"] {
        object.optional(name).filter(are_texts);
    }
    for name in ["username", "password", "subject", "actor"] {
        if let Some(place) = object.optional(name) {
            unsupported(&place, &format!("`{name}`, of another grant,"));
        }
    }
    object.finish();
    let members = field::template(place, context);
    granted.then_some(Authentication::OAuth2(Box::new(OAuth2 {
        authority: authority?,
        members: members?,
    })))
}

fn authority(place: &Place<'_>, context: &Context<'_>) -> Option<Endpoint> {
    let endpoint = call::address(place, context)?;
    let named = matches!(&endpoint, Endpoint::Uri(uri) if uri.starts_with("destination:"));
    if named {
        place.fault_with(
            "a token comes from an address, not from a destination",
            "write https://host/path",
        );
        return None;
    }
    Some(endpoint)
}

/// Whether the grant is one that a workflow can use by itself.
fn grant(place: &Place<'_>) -> bool {
    let Some(text) = place.string() else {
        return false;
    };
    if text == "authorization_code" {
        place.fault_with(
            "`authorization_code` needs a person, and a run has none",
            "give the destination its authentication, or use client_credentials",
        );
        return false;
    }
    if GRANTS_LATER.contains(&text) {
        unsupported(place, &format!("the grant `{text}` in a workflow"));
        return false;
    }
    place.one_of(&["client_credentials"]).is_some()
}

fn client_authentication(place: &Place<'_>) {
    let Some(text) = place
        .node()
        .as_str()
        .filter(|text| !field::is_expression(text))
    else {
        let _ = place.string();
        return;
    };
    if matches!(text, "client_secret_jwt" | "private_key_jwt") {
        unsupported(place, &format!("`{text}`"));
    } else {
        let _ = place.one_of(&ClientAuthentication::NAMES);
    }
}

fn is_text(place: &Place<'_>) -> bool {
    place.string().is_some()
}

fn is_literal(place: &Place<'_>) -> bool {
    !place.node().as_str().is_some_and(field::is_expression)
}

/// A list of texts, or an expression that gives one.
fn are_texts(place: &Place<'_>) -> bool {
    if !is_literal(place) {
        return true;
    }
    if !matches!(place.node().content, Content::Array(_)) {
        place.unexpected("a list of strings");
        return false;
    }
    let items = place.array().unwrap_or_default();
    items.iter().filter(|item| item.string().is_none()).count() == 0
}
