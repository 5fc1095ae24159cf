//! Approvals: what people are asked, how it stands, and deciding it with an API key.

use axum::extract::{self, FromRequestParts, Path};
use axum::response::Response;
use http::{StatusCode, Uri, request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::access::{Allowed, DecideApprovals, ReadRuns};
use super::bodies::{self, Raw};
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::{Error, State};
use crate::approval::{self, Choice, Origin, Refused, Via, Wrong};
use crate::id::Id;
use crate::run::approval::{Ask, Standing};
use crate::store::approvals::{ApprovalFilter, StoredApproval};
use crate::webhook::Peer;
use crate::workflow::Fault;

/// Who decides where a request says nobody and no API key is asked for.
const NOBODY: &str = "operator";

#[derive(Serialize)]
struct WorkflowIdentity<'a> {
    namespace: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: Id,
    status: &'static str,
    run_id: Id,
    workflow: WorkflowIdentity<'a>,
    reference: &'a str,
    iteration: &'a str,
    #[serde(flatten)]
    ask: Ask,
    decisions: Box<RawValue>,
    requested_at: Timestamp,
    expires_at: Timestamp,
    closed_at: Option<Timestamp>,
}

/// What a request that decides may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    by: Option<String>,
    comment: Option<String>,
    form: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Taken<'a> {
    id: Id,
    decision: &'static str,
    by: &'a str,
    event: Id,
}

/// Where a request came from.
struct From(Origin);

impl FromRequestParts<State> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut request::Parts,
        _: &State,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().copied();
        Ok(Self(approval::origin(peer, &parts.headers)))
    }
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const APPROVE: &str = "Approve; the decision is durable when this answers";
    const REJECT: &str = "Reject; the decision is durable when this answers";
    let decision = |summary| About {
        summary,
        query: &[],
        request: Some(Request {
            media: &["application/json"],
            schema: Some("Decision"),
        }),
        answers: &[(202, Some("Any"))],
        problems: &[400, 404, 409, 410, 413, 422],
    };
    routes
        .add(
            "get /approvals",
            list,
            About {
                summary: "List approvals, newest first",
                query: &[
                    (
                        "status",
                        "Only of this status: pending, approved, rejected, expired, cancelled",
                    ),
                    ("run", "Only of this run"),
                    ("workflow", "Only of this workflow, as `namespace/name`"),
                    pages::AFTER,
                    pages::LIMIT,
                ],
                request: None,
                answers: &[(200, Some("[Approval]"))],
                problems: &[400],
            },
        )
        .add(
            "get /approvals/{id}",
            show,
            About {
                summary: "Show an approval: what is asked, how it stands, who has decided",
                query: &[],
                request: None,
                answers: &[(200, Some("Approval"))],
                problems: &[404],
            },
        )
        .add("post /approvals/{id}/approve", approve, decision(APPROVE))
        .add("post /approvals/{id}/reject", reject, decision(REJECT))
}

fn unknown() -> Error {
    Error::NotFound("there is no such approval".to_owned())
}

async fn find(state: &State, id: &str) -> Result<StoredApproval, Error> {
    let id: Id = id.parse().map_err(|_| unknown())?;
    let stored = state.decisions.store.approval(id).await?;
    stored.ok_or_else(unknown)
}

fn shown(stored: &StoredApproval) -> Result<Shown<'_>, Error> {
    let decisions = serde_json::from_slice(&stored.decisions);
    Ok(Shown {
        id: stored.id.into(),
        status: approval::standing(stored, Timestamp::now()).word(),
        run_id: stored.run_id.into(),
        workflow: WorkflowIdentity {
            namespace: &stored.namespace,
            name: &stored.name,
            version: &stored.version,
        },
        reference: &stored.reference,
        iteration: &stored.iteration,
        ask: approval::ask(stored)?,
        decisions: decisions.map_err(|error| Error::Internal(error.into()))?,
        requested_at: stored.requested_at,
        expires_at: stored.expires_at,
        closed_at: stored.closed_at(),
    })
}

async fn list(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["status", "run", "workflow", "after", "limit"])?;
    let limit = query.limit()?;
    let status = query.get("status");
    if let Some(word) = status
        && Standing::of(word).is_none()
    {
        let known = Standing::ALL.map(Standing::word).join(", ");
        let detail = format!("there is no status {word}; there are: {known}");
        return Err(Error::BadRequest(detail));
    }
    let workflow = query.get("workflow").map(|name| {
        name.split_once('/')
            .ok_or_else(|| Error::BadRequest("write the workflow as `namespace/name`".to_owned()))
    });
    let workflow = workflow.transpose()?;
    let filter = ApprovalFilter {
        status: status.map(str::to_owned),
        run_id: query.parse("run")?,
        namespace: workflow.map(|(namespace, _)| namespace.to_owned()),
        name: workflow.map(|(_, name)| name.to_owned()),
    };
    let store = &state.decisions.store;
    let stored = store
        .approvals(&filter, query.parse("after")?, limit)
        .await?;
    let items: Vec<_> = stored.iter().map(shown).collect::<Result<_, _>>()?;
    let next = pages::next(&stored, limit, |one| Id::from(one.id).to_string());
    Ok(query.page(&items, next))
}

async fn show(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = find(&state, &id).await?;
    Ok(bodies::json(StatusCode::OK, &shown(&stored)?))
}

async fn approve(
    allowed: Allowed<DecideApprovals>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    from: From,
    body: Raw,
) -> Result<Response, Error> {
    decide(&state, &id, (&allowed, from, body), true).await
}

async fn reject(
    allowed: Allowed<DecideApprovals>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    from: From,
    body: Raw,
) -> Result<Response, Error> {
    decide(&state, &id, (&allowed, from, body), false).await
}

async fn decide(
    state: &State,
    id: &str,
    (allowed, From(origin), Raw(body)): (&Allowed<DecideApprovals>, From, Raw),
    approves: bool,
) -> Result<Response, Error> {
    let told: Told = if body.iter().all(u8::is_ascii_whitespace) {
        Told::default()
    } else {
        bodies::parse(&body)?
    };
    let stored = find(state, id).await?;
    let key = allowed.key.as_ref().map(|key| key.name.clone());
    let choice = Choice {
        approves,
        by: voter(&stored, told.by, key.as_deref())?,
        comment: told.comment,
        form: told.form,
        via: Via::Api,
        key,
        origin,
    };
    let event = state.decisions.decide(&stored, &choice).await;
    let taken = Taken {
        id: stored.id.into(),
        decision: if approves { "approved" } else { "rejected" },
        by: choice.by.trim(),
        event: event.map_err(refused)?,
    };
    Ok(bodies::json(StatusCode::ACCEPTED, &taken))
}

/// Who decides: who the request says, one of those that are asked; else the owner of the API key.
fn voter(stored: &StoredApproval, by: Option<String>, key: Option<&str>) -> Result<String, Error> {
    let Some(by) = by else {
        return Ok(key.unwrap_or(NOBODY).to_owned());
    };
    let ask = approval::ask(stored)?;
    let is_it =
        |name: &&String| crate::run::approval::voter(name) == crate::run::approval::voter(&by);
    if ask.approvers.is_empty() {
        return Ok(by);
    }
    // As the definition writes the name.
    let found = ask.approvers.iter().find(is_it);
    found.cloned().ok_or_else(|| {
        let asked = ask.approvers.join(", ");
        Error::invalid(format!("`by` is not among those who are asked: {asked}"))
    })
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Decided(why) => Error::Conflict(why),
        Refused::Over(why) => Error::Gone(why),
        Refused::NotAllowed(why) => Error::Refused(why),
        Refused::Wrong(wrong) => Error::Invalid {
            detail: "the decision was not taken".to_owned(),
            errors: wrong.into_iter().map(fault).collect(),
        },
        Refused::Store(error) => error.into(),
        Refused::Unavailable(unavailable) => unavailable.into(),
    }
}

fn fault(wrong: Wrong) -> Fault {
    let own = matches!(wrong.field.as_str(), "by" | "comment" | "form");
    let pointer = if own {
        format!("/{}", wrong.field)
    } else {
        format!("/form/{}", wrong.field)
    };
    Fault {
        pointer,
        line: 0,
        column: 0,
        message: format!("`{}` {}", wrong.field, wrong.message),
        hint: None,
    }
}
