//! API keys: making one (shown once), listing, revoking.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::{self, Allowed, ChangeKeys, Role};
use super::bodies::{self, Json};
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::{Error, State};
use crate::store::api_keys::ApiKey;

/// Longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    name: String,
    role: String,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Made<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
    /// The key itself: this is the only time that it can be seen.
    key: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .add(
            "get /keys",
            list,
            About {
                summary: "List API keys, also revoked ones; never the keys themselves",
                query: &[pages::AFTER, pages::LIMIT],
                request: None,
                answers: &[(200, Some("[ApiKey]"))],
                problems: &[400],
            },
        )
        .add(
            "post /keys",
            make,
            About {
                summary: "Make an API key; the answer is the only place where it can be seen",
                query: &[],
                request: Some(Request {
                    media: &["application/json"],
                    schema: Some("NewApiKey"),
                }),
                answers: &[(201, Some("MadeApiKey"))],
                problems: &[400, 413, 415, 422],
            },
        )
        .add(
            "delete /keys/{id}",
            revoke,
            About {
                summary: "Revoke an API key, on all nodes within 5 seconds",
                query: &[],
                request: None,
                answers: &[(204, None)],
                problems: &[404],
            },
        )
}

async fn list(
    _: Allowed<ChangeKeys>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["after", "limit"])?;
    let limit = query.limit()?;
    let keys = state
        .store
        .api_keys(query.get("after").unwrap_or_default(), limit)
        .await?;
    let shown: Vec<Shown<'_>> = keys.iter().map(show).collect();
    Ok(query.page(&shown, pages::next(&keys, limit, |key| key.id.clone())))
}

fn show(key: &ApiKey) -> Shown<'_> {
    Shown {
        id: &key.id,
        name: &key.name,
        role: &key.role,
        created_at: key.created_at,
        expires_at: key.expires_at(),
        revoked_at: key.revoked_at(),
    }
}

async fn make(
    _: Allowed<ChangeKeys>,
    extract::State(state): extract::State<State>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Error> {
    let role = Role::of(&wanted.role).ok_or_else(|| {
        Error::invalid(format!(
            "role must be one of {}",
            Role::ALL.map(Role::word).join(", ")
        ))
    })?;
    if !(1..=NAME_CHARS_MAX).contains(&wanted.name.chars().count()) {
        return Err(Error::invalid("name must have 1 to 100 characters"));
    }
    let (key, new) = access::make(&state.environment, &wanted.name, role, wanted.expires_at)?;
    if role != Role::Admin && !state.store.has_api_keys().await? {
        let detail = "the first key must be an admin's: it closes the door to all without a key";
        return Err(Error::Conflict(detail.to_owned()));
    }
    state.store.add_api_key(&new).await?;
    state.access.forget();
    let made = Made {
        id: &new.id,
        name: &new.name,
        role: new.role,
        key: &key,
    };
    Ok(bodies::json(StatusCode::CREATED, &made))
}

async fn revoke(
    _: Allowed<ChangeKeys>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    if !state.store.revoke_api_key(&id).await? {
        return Err(Error::NotFound(
            "there is no such key, or it is revoked already".to_owned(),
        ));
    }
    state.access.forget();
    Ok(StatusCode::NO_CONTENT)
}
