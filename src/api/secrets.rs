//! Secrets: set, replaced, forgotten; never read back, for any role.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::{Allowed, ChangeSecrets, ReadDefinitions};
use super::bodies::{self, Json};
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::{Error, State};
use crate::secret::SealContext;
use crate::store;
use crate::store::secrets::{Label, Sealed};

/// Largest secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Most secrets set at once.
const SECRETS_MAX: usize = 200;

/// How often secrets are sealed anew when someone else sets them at the same time.
const TRIES_MAX: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    version: i32,
    updated_at: jiff::Timestamp,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const JSON: Option<Request> = Some(Request {
        media: &["application/json"],
        schema: Some("SecretValue"),
    });
    routes
        .add(
            "get /secrets",
            list,
            About {
                summary: "List the names of secrets; values are never shown",
                query: &[pages::AFTER, pages::LIMIT],
                request: None,
                answers: &[(200, Some("[Secret]"))],
                problems: &[400],
            },
        )
        .add(
            "put /secrets",
            put_many,
            About {
                summary: "Set many secrets at once, all or none: an object of names and values",
                query: &[],
                request: Some(Request {
                    media: &["application/json"],
                    schema: Some("SecretValues"),
                }),
                answers: &[(204, None)],
                problems: &[400, 409, 413, 415, 422],
            },
        )
        .add(
            "get /secrets/{name}",
            show,
            About {
                summary: "Show when a secret was set, never its value",
                query: &[],
                request: None,
                answers: &[(200, Some("Secret"))],
                problems: &[404],
            },
        )
        .add(
            "put /secrets/{name}",
            put,
            About {
                summary: "Set a secret: a string, an object with members, or {\"value\": either}",
                query: &[],
                request: JSON,
                answers: &[(200, Some("Secret"))],
                problems: &[400, 409, 413, 415, 422],
            },
        )
        .add(
            "delete /secrets/{name}",
            remove,
            About {
                summary: "Forget a secret",
                query: &[],
                request: None,
                answers: &[(204, None)],
                problems: &[404],
            },
        )
}

fn unknown() -> Error {
    Error::NotFound("there is no such secret".to_owned())
}

async fn list(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["after", "limit"])?;
    let limit = query.limit()?;
    let labels = state
        .store
        .secret_labels(query.get("after").unwrap_or_default(), limit)
        .await?;
    let shown: Vec<Shown<'_>> = labels.iter().map(label).collect();
    Ok(query.page(
        &shown,
        pages::next(&labels, limit, |label| label.name.clone()),
    ))
}

fn label(label: &Label) -> Shown<'_> {
    Shown {
        name: &label.name,
        version: label.version,
        updated_at: label.updated_at,
    }
}

async fn show(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let found = state.store.secret_label(&name).await?.ok_or_else(unknown)?;
    Ok(bodies::json(StatusCode::OK, &label(&found)))
}

async fn put(
    _: Allowed<ChangeSecrets>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Json(value): Json<Value>,
) -> Result<Response, Error> {
    let value = match value {
        Value::Object(mut members) if members.len() == 1 && members.contains_key("value") => {
            members.remove("value").unwrap_or_default()
        }
        value => value,
    };
    set(&state, vec![(name.clone(), plain(&name, value)?)]).await?;
    let found = state.store.secret_label(&name).await?.ok_or_else(unknown)?;
    Ok(bodies::json(StatusCode::OK, &label(&found)))
}

async fn put_many(
    _: Allowed<ChangeSecrets>,
    extract::State(state): extract::State<State>,
    Json(values): Json<Map<String, Value>>,
) -> Result<StatusCode, Error> {
    if values.len() > SECRETS_MAX {
        return Err(Error::invalid(format!(
            "at most {SECRETS_MAX} secrets are set at once"
        )));
    }
    let mut secrets = Vec::with_capacity(values.len());
    for (name, value) in values {
        let value = plain(&name, value)?;
        secrets.push((name, value));
    }
    if !secrets.is_empty() {
        set(&state, secrets).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

type Plain = Zeroizing<Vec<u8>>;

/// A secret's value as it is sealed: a string's content, or an object as JSON.
fn plain(name: &str, value: Value) -> Result<Plain, Error> {
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(named) {
        let detail =
            "names of secrets have 1 to 100 letters, digits, - and _ (a dot asks for a member)";
        return Err(Error::invalid(detail));
    }
    let plain = match value {
        Value::String(text) => Zeroizing::new(text.into_bytes()),
        Value::Object(_) => Zeroizing::new(value.to_string().into_bytes()),
        _ => {
            return Err(Error::invalid(format!(
                "secret {name} must be a string or an object"
            )));
        }
    };
    if plain.is_empty() || plain.len() > SECRET_BYTES_MAX {
        return Err(Error::invalid(format!(
            "secret {name} must have 1 byte to 64 KiB"
        )));
    }
    Ok(plain)
}

/// The seal names the version, so a concurrent change asks for sealing again.
async fn set(state: &State, secrets: Vec<(String, Plain)>) -> Result<(), Error> {
    let names: Vec<String> = secrets.iter().map(|(name, _)| name.clone()).collect();
    for _ in 0..TRIES_MAX {
        let versions = state.store.next_secret_versions(&names).await?;
        let sealed = secrets
            .iter()
            .zip(versions)
            .map(|((name, plain), version)| seal(state, name, version, plain));
        match state
            .store
            .put_secrets(sealed.collect::<Result<_, _>>()?)
            .await
        {
            Err(store::Error::Conflict(_)) => {}
            done => {
                done?;
                state.changed().await;
                return Ok(());
            }
        }
    }
    Err(Error::Conflict(
        "others set these secrets at the same time; try again".to_owned(),
    ))
}

fn seal(state: &State, name: &str, version: i32, plain: &[u8]) -> Result<Sealed, Error> {
    let context = SealContext {
        environment: &state.environment,
        name,
        version,
    };
    let row = state
        .keyring
        .seal(&context, plain)
        .map_err(|error| Error::Internal(error.into()))?;
    Ok(Sealed {
        name: name.to_owned(),
        version,
        kek_id: row.kek_id,
        wrapped_key: row.wrapped_key,
        sealed: row.sealed,
    })
}

async fn remove(
    _: Allowed<ChangeSecrets>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    if !state.store.remove_secret(&name).await? {
        return Err(unknown());
    }
    state.changed().await;
    Ok(StatusCode::NO_CONTENT)
}
