//! Workflows: deploying a version, listing, activating an earlier one, retiring.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::access::{Allowed, ChangeWorkflows, ReadDefinitions};
use super::bodies::{self, Text};
use super::definitions::secrets;
use super::documents;
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::{Error, State};
use crate::expression::Value;
use crate::store::workflows::{Deployed, NewWorkflow, Workflow};
use crate::workflow::{self, Definition, Documents, Fault};

/// Namespace, name and version in a path.
pub type Identity = (String, String, String);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    namespace: &'a str,
    name: &'a str,
    version: &'a str,
    active: bool,
    retired: bool,
    created_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(workflow: &'a Workflow, with_text: bool) -> Self {
        Self {
            namespace: &workflow.namespace,
            name: &workflow.name,
            version: &workflow.version,
            active: workflow.active,
            retired: workflow.retired,
            created_at: workflow.created_at,
            text: with_text.then_some(workflow.text.as_str()),
        }
    }
}

/// Media types of a definition's text.
pub(super) const DEFINITION: Request = Request {
    media: &["application/yaml", "application/json"],
    schema: None,
};

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const ONE: &str = "Workflow";
    routes
        .add(
            "post /workflows",
            deploy,
            About {
                summary: "Store a version of a workflow and make it the active one",
                query: &[],
                request: Some(DEFINITION),
                answers: &[(201, Some(ONE)), (200, Some(ONE))],
                problems: &[400, 409, 413, 415, 422],
            },
        )
        .add(
            "get /workflows",
            list,
            About {
                summary: "List all versions in the order they were stored",
                query: &[
                    ("namespace", "Only of this namespace"),
                    ("name", "Only of this name"),
                    pages::AFTER,
                    pages::LIMIT,
                ],
                request: None,
                answers: &[(200, Some("[Workflow]"))],
                problems: &[400],
            },
        )
        .add(
            "get /workflows/{namespace}/{name}/{version}",
            show,
            About {
                summary: "Show one version with its text; `latest` is the active one",
                query: &[],
                request: None,
                answers: &[(200, Some(ONE))],
                problems: &[404],
            },
        )
        .add(
            "delete /workflows/{namespace}/{name}/{version}",
            retire,
            About {
                summary: "Retire a version: it starts no run any more, runs that have begun go on",
                query: &[],
                request: None,
                answers: &[(204, None)],
                problems: &[404],
            },
        )
        .add(
            "post /workflows/{namespace}/{name}/{version}/activate",
            activate,
            About {
                summary: "Make this version the active one (rollback)",
                query: &[],
                request: None,
                answers: &[(200, Some(ONE))],
                problems: &[404],
            },
        )
}

async fn deploy(
    _: Allowed<ChangeWorkflows>,
    extract::State(state): extract::State<State>,
    Text(text): Text,
) -> Result<Response, Error> {
    let texts = std::iter::once(text.as_str());
    let documents = documents::of(&state.store, &state.fetch, &state.work, texts).await;
    let read = state.work(move || read(&text, &documents)).await?;
    let new = read.map_err(|errors| Error::Invalid {
        detail: "the workflow is not valid; nothing was changed".to_owned(),
        errors,
    })?;
    let (environment, secrets) = (Arc::clone(&state.environment), Arc::clone(&state.secrets));
    let text = new.text.clone();
    let missing = move || secrets::missing(&text, &environment, &*secrets);
    let errors = state.work(missing).await?;
    if !errors.is_empty() {
        let detail =
            "the workflow names secrets that are not there; nothing was changed".to_owned();
        return Err(Error::Invalid { detail, errors });
    }
    let done = state.store.deploy(new).await?;
    if !matches!(done, Deployed::Unchanged(_)) {
        state.changed().await;
    }
    let status = match done {
        Deployed::Created(_) => StatusCode::CREATED,
        Deployed::Activated(_) | Deployed::Unchanged(_) => StatusCode::OK,
    };
    let workflow = state.store.workflow_by_id(done.id()).await?;
    let workflow = workflow.ok_or_else(|| Error::NotFound("it is gone again".to_owned()))?;
    Ok(bodies::json(status, &Shown::new(&workflow, false)))
}

/// Reads a workflow's text into what is stored of it.
///
/// # Errors
/// Everything wrong in it.
pub fn read(text: &str, documents: &Documents) -> Result<NewWorkflow, Vec<Fault>> {
    let definition = workflow::parse_with(text, documents)?;
    let document = &definition.document;
    Ok(NewWorkflow {
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        version: document.version.clone(),
        digest: digest_of(&definition),
        text: text.to_owned(),
        pins: definition.pins,
    })
}

/// Namespace, name, version and digest of a workflow's text; none where it is not valid as far as
/// that can be told without its API documents.
pub(super) fn identity(text: &str) -> Option<(String, String, String, [u8; 32])> {
    let new = read(text, &Documents::default()).ok()?;
    Some((new.namespace, new.name, new.version, new.digest))
}

/// SHA-256 of the document as data: comments, layout and the order of members do not count.
fn digest_of(definition: &Definition) -> [u8; 32] {
    let mut canonical = Vec::new();
    write(&definition.value, &mut canonical);
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, &canonical).as_ref());
    sum
}

fn write(value: &Value, out: &mut Vec<u8>) {
    if let Some(mut members) = value.members() {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        out.push(b'{');
        for (name, value) in members {
            Value::string(name).write_json(out);
            out.push(b':');
            write(&value, out);
            out.push(b',');
        }
        out.push(b'}');
    } else if let Some(items) = value.items() {
        out.push(b'[');
        for item in &items {
            write(item, out);
            out.push(b',');
        }
        out.push(b']');
    } else {
        value.write_json(out);
    }
}

async fn list(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["namespace", "name", "after", "limit"])?;
    let (after, limit) = (query.parse("after")?.unwrap_or(0), query.limit()?);
    let of = (query.get("namespace"), query.get("name"));
    let workflows = state.store.workflows(of, after, limit).await?;
    let shown: Vec<Shown<'_>> = workflows.iter().map(|w| Shown::new(w, false)).collect();
    Ok(query.page(
        &shown,
        pages::next(&workflows, limit, |workflow| workflow.id.to_string()),
    ))
}

/// The version a path names.
///
/// # Errors
/// 404 where there is none.
pub(super) async fn find(state: &State, identity: &Identity) -> Result<Workflow, Error> {
    let (namespace, name, version) = identity;
    let found = state.store.workflow((namespace, name, version)).await?;
    found.ok_or_else(|| Error::NotFound("there is no such version of this workflow".to_owned()))
}

async fn show(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    Path(identity): Path<Identity>,
) -> Result<Response, Error> {
    let workflow = find(&state, &identity).await?;
    Ok(bodies::json(StatusCode::OK, &Shown::new(&workflow, true)))
}

async fn retire(
    _: Allowed<ChangeWorkflows>,
    extract::State(state): extract::State<State>,
    Path(identity): Path<Identity>,
) -> Result<StatusCode, Error> {
    let workflow = find(&state, &identity).await?;
    state.store.retire(workflow.id).await?;
    state.changed().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn activate(
    _: Allowed<ChangeWorkflows>,
    extract::State(state): extract::State<State>,
    Path(identity): Path<Identity>,
) -> Result<Response, Error> {
    let workflow = find(&state, &identity).await?;
    state.store.activate(workflow.id).await?;
    state.changed().await;
    let workflow = Arc::new(find(&state, &identity).await?);
    Ok(bodies::json(StatusCode::OK, &Shown::new(&workflow, false)))
}
