//! Samples: what senders' deliveries look like, and sending one to a source as its sender would.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::access::{Allowed, PublishEvents, ReadDefinitions};
use super::pages::Query;
use super::routes::{About, Routes};
use super::{Error, State, bodies};
use crate::id::Id;
use crate::signature::samples::{self, Sample};
use crate::webhook::sample::{self, Unsent};

#[derive(Serialize)]
struct Shown<'a> {
    provider: &'a str,
    sample: &'a str,
}

#[derive(Serialize)]
struct Sent {
    id: Option<Id>,
    events: usize,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .add(
            "get /samples",
            list,
            About {
                query: &[("provider", "Only of this provider")],
                ..About::plain(
                    "List the sample deliveries there are, by provider and name",
                    &[(200, Some("[Any]"))],
                    &[400],
                )
            },
        )
        .add(
            "post /sources/{name}/samples",
            send,
            About {
                query: &[("sample", "Name of the sample; the provider is the source's")],
                ..About::plain(
                    "Sign a sample with the source's own secret and take it in as a delivery",
                    &[(202, Some("Any"))],
                    &[400, 404, 409],
                )
            },
        )
}

fn shown(sample: &Sample) -> Shown<'_> {
    Shown {
        provider: &sample.provider,
        sample: &sample.name,
    }
}

async fn list(_: Allowed<ReadDefinitions>, uri: Uri) -> Result<Response, Error> {
    let query = Query::new(&uri, &["provider"])?;
    let wanted = query.get("provider");
    let all = samples::gallery().iter();
    let all = all.filter(|sample| wanted.is_none_or(|wanted| wanted == sample.provider));
    let all: Vec<_> = all.map(shown).collect();
    Ok(query.page(&all, None))
}

async fn send(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["sample"])?;
    let wanted = query.get("sample");
    let wanted = wanted.ok_or_else(|| Error::BadRequest("name a `sample`".to_owned()))?;
    let source = state.rejected.sources.get(&name);
    let source = source.ok_or_else(|| Error::NotFound("there is no such source".to_owned()))?;
    let provider = source.provider.as_deref().unwrap_or_default();
    let sample = samples::find(provider, wanted).ok_or_else(|| {
        let known = samples::gallery().iter();
        let known = known.filter(|sample| sample.provider == provider);
        let known: Vec<_> = known.map(|sample| sample.name.as_str()).collect();
        Error::NotFound(match known.as_slice() {
            [] => "there are no samples of the source's provider".to_owned(),
            known => format!("there is no such sample; there are {}", known.join(", ")),
        })
    })?;
    let receipts = sample::send(&state.rejected, &source, sample).await;
    let receipts = receipts.map_err(|error| match error {
        Unsent::Unavailable(unavailable) => unavailable.into(),
        error => Error::Conflict(error.to_string()),
    })?;
    let sent = Sent {
        id: receipts.first().map(|receipt| receipt.id),
        events: receipts.len(),
    };
    Ok(bodies::json(StatusCode::ACCEPTED, &sent))
}
