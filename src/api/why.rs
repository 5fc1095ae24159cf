//! Why: everything known about how an event came in and what it led to.
//!
//! What was decided comes from the log. What filters say is asked again, of the workflows that are
//! deployed now. Of secrets only names are told.

use axum::extract::{self, Path};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::access::{Allowed, ReadEvents};
use super::{Error, State, bodies, events, runs};
use crate::event::Event;
use crate::id::Id;
use crate::store::rejections::Label;
use crate::trigger::{REPLAY_OF, Told};
use crate::webhook::admission::VERIFIED_WITH;
use crate::webhook::source;

/// Duplicates that are told of one event at most.
const DUPLICATES_MAX: u16 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Why {
    id: Id,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
    duplicates: Vec<Duplicate>,
    runs: Vec<Started>,
    /// What the filters of the workflows deployed now say.
    filters: Vec<Filter>,
}

/// How the delivery proved itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    source: String,
    version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// False where the source takes everything.
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Secret>,
}

/// The secret that matched.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    name: String,
    /// Its place among those in force, 0 being the newest.
    index: usize,
    in_force: usize,
    /// Where it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Duplicate {
    id: Id,
    received_at: jiff::Timestamp,
    /// `duplicate`, or `conflict` where its body is another one.
    cause: String,
}

#[derive(Serialize)]
struct Workflow {
    namespace: String,
    name: String,
    version: String,
}

#[derive(Serialize)]
struct Started {
    id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<Workflow>,
}

#[derive(Serialize)]
struct Filter {
    workflow: Workflow,
    matches: bool,
    reason: String,
}

/// `get /events/{id}/why`.
pub(super) async fn show(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = events::find(&state, &id).await?;
    let decision = state.store.decision(&stored).await?;
    let event = stored.event;
    let kept = state.store.duplicates(event.id, DUPLICATES_MAX).await?;
    let mut started = Vec::new();
    for (run, workflow) in &decision.runs {
        let definition = state.definitions.workflow(*workflow).await?;
        let workflow = definition.map(|definition| Workflow {
            namespace: definition.document.namespace.clone(),
            name: definition.document.name.clone(),
            version: definition.document.version.clone(),
        });
        started.push(Started { id: *run, workflow });
    }
    let why = Why {
        id: event.id,
        decision: decision.word(),
        ignored: decision.ignored,
        replay_of: event.attributes.get(REPLAY_OF).cloned(),
        verification: verification(&state, &event).await?,
        duplicates: kept.into_iter().map(duplicate).collect(),
        runs: started,
        filters: match stored.target {
            Some(_) => Vec::new(),
            None => filters(&state, event).await?,
        },
    };
    Ok(bodies::json(StatusCode::OK, &why))
}

async fn filters(state: &State, event: Event) -> Result<Vec<Filter>, Error> {
    let active = state.definitions.active();
    let told = state.work(move || active.triggers.verdicts(&event)).await?;
    let filter = |told: Told| Filter {
        workflow: Workflow {
            namespace: told.namespace,
            name: told.name,
            version: told.version,
        },
        matches: told.matches,
        reason: told.reason,
    };
    Ok(told.into_iter().map(filter).collect())
}

fn duplicate(label: Label) -> Duplicate {
    Duplicate {
        id: Id::from(label.id),
        received_at: label.received_at,
        cause: label.cause,
    }
}

/// How the delivery was verified, by the version of its source that was in force; a source that is
/// unknown, or that this version cannot read, tells nothing.
async fn verification(state: &State, event: &Event) -> Result<Option<Verification>, Error> {
    let Some(name) = event.source.strip_prefix("/hooks/") else {
        return Ok(None);
    };
    let received_at = runs::made_at(event.id);
    let Some(stored) = state.store.source_at(name, received_at).await? else {
        return Ok(None);
    };
    let Ok(source) = source::parse(&stored.text) else {
        return Ok(None);
    };
    // Where there was more than one, the event says which it was.
    let said = event.attributes.get(VERIFIED_WITH);
    let said = said.and_then(|said| {
        let (name, index) = said.rsplit_once('/')?;
        Some((name.to_owned(), index.parse().ok()?))
    });
    let only = || source.only_secret().map(|name| (name.to_owned(), 0));
    let secret = said.or_else(only).map(|(name, index)| {
        let (in_force, reference) = source.secret(&name, index);
        Secret {
            index,
            in_force,
            reference: reference.map(ToString::to_string),
            name,
        }
    });
    Ok(Some(Verification {
        source: source.name.clone(),
        version: stored.version,
        provider: source.provider.clone(),
        verified: source.is_verifying(),
        secret,
    }))
}
