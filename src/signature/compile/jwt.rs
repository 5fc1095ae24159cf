//! The grammar of `scheme: jwt`.
//!
//! Called by `leaf`. Algorithms must fit the key: secrets sign with HMAC, published keys with RSA
//! or ECDSA.

use super::leaf::{checks, key_parts, location};
use super::words::{all, filled, filled_text, filled_texts, template};
use crate::signature::jwt::{Algorithm, Expected, Jwt, Material};
use crate::signature::template::{Allowed, Names};
use crate::workflow::document::{Content, Object, Place};

/// The most that clocks may differ, in seconds.
const LEEWAY_S_MAX: i64 = 3_600;

pub fn jwt(object: &Object<'_>, names: &mut Names) -> Option<Jwt> {
    let token = object.required("token").and_then(|place| {
        let object = place.object()?;
        let location = location(&object, names);
        let prefix = object.optional_string("prefix").map(str::to_owned);
        let required = !object.optional_bool("prefixOptional").unwrap_or(false);
        object.finish();
        Some((location?, prefix, required))
    });
    let algorithms = object.required("algorithms").and_then(|place| {
        let items = filled(&place)?;
        let words = items
            .iter()
            .map(|item| super::words::choice(item, Algorithm::WORDS));
        all(words)
    });
    let key = object
        .required("key")
        .and_then(|place| material(&place, names));
    let required = match object.optional("require") {
        None => Some(Vec::new()),
        Some(place) => filled_texts(&place),
    };
    let leeway_s = match object.optional("leeway") {
        None => Some(0),
        Some(place) => place.integer(0, LEEWAY_S_MAX),
    };
    let claims = match object.optional("claims") {
        None => Some(Vec::new()),
        Some(place) => claims(&place, names),
    };
    let checks = match object.optional("checks") {
        None => Some(Vec::new()),
        Some(place) => checks(&place, names),
    };
    let (location, prefix, prefix_required) = token?;
    let (algorithms, key) = (algorithms?, key?);
    if matches!(key, Material::Published(_))
        && algorithms
            .iter()
            .any(|algorithm| algorithm.hmac().is_some())
    {
        object.place().fault_with(
            "published keys verify no HMAC",
            "list RS256 or ES256, or give a `secret`",
        );
        return None;
    }
    Some(Jwt {
        location,
        prefix,
        prefix_required,
        algorithms,
        key,
        required: required?.into_iter().map(str::to_owned).collect(),
        leeway_s: leeway_s?,
        claims: claims?,
        checks: checks?,
    })
}

fn material(place: &Place<'_>, names: &mut Names) -> Option<Material> {
    let object = place.object()?;
    let Some(url) = object.optional("jwks") else {
        let key = key_parts(&object, names);
        object.finish();
        return key.map(Material::Secret);
    };
    object.finish();
    let text = filled_text(&url)?;
    let good = url::Url::parse(text).is_ok_and(|url| {
        // On the machine itself nobody stands between.
        let inside = matches!(url.host(), Some(url::Host::Ipv4(host)) if host.is_loopback());
        url.scheme() == "https" || (url.scheme() == "http" && inside)
    });
    if !good {
        url.fault_with("this is no https URL", "keys are fetched over TLS only");
        return None;
    }
    Some(Material::Published(text.to_owned()))
}

fn claims(place: &Place<'_>, names: &mut Names) -> Option<Vec<(String, Expected)>> {
    let object = place.object()?;
    let claims = object.members().map(|(key, value)| {
        let expected = match &value.node().content {
            Content::Bool(truth) => Expected::Truth(*truth),
            Content::Array(_) => {
                let texts = filled_texts(&value)?.into_iter();
                Expected::Texts(texts.map(str::to_owned).collect())
            }
            _ => {
                let template = template(&value, Allowed::Secret, names)?;
                match template.sole_secret() {
                    Some(name) => Expected::Configured(name.to_owned()),
                    None => Expected::Template(template),
                }
            }
        };
        Some((key.name.clone(), expected))
    });
    all(claims)
}
