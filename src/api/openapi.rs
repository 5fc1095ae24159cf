//! The published description of the API (OpenAPI 3.1), made from the list of routes.
//!
//! Paths, permissions and statuses come from [`Operation`]s, so they cannot differ from what is
//! served; the schemas stand in `openapi.json` beside this file.

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::access::{Allowed, ReadDefinitions};
use super::routes::{About, Operation, Request, Routes};
use super::{PREFIX, State, bodies};

/// Everything but the paths.
const FRAME: &str = include_str!("openapi.json");

/// Adds the route of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "get /openapi.json",
        show,
        About {
            summary: "This description",
            query: &[],
            request: None,
            answers: &[(200, Some("Any"))],
            problems: &[],
        },
    )
}

async fn show(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
) -> Response {
    bodies::answer(StatusCode::OK, state.openapi.clone())
}

/// The description of these operations, as JSON.
#[must_use]
pub fn document(operations: &[Operation]) -> Bytes {
    let mut document: Map<String, Value> =
        serde_json::from_str(FRAME).expect("a test reads this file");
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths
            .entry(format!("{PREFIX}{}", operation.path))
            .or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    document.insert("paths".to_owned(), Value::Object(paths));
    Bytes::from(Value::Object(document).to_string())
}

fn described(operation: &Operation) -> Value {
    let about = &operation.about;
    let (permission, role) = (operation.permission, operation.role.word());
    let needs = format!("Permission `{permission}`: role {role} or above.");
    let mut described = json!({
        "operationId": id(operation),
        "summary": about.summary,
        "description": needs,
        "parameters": parameters(operation),
        "responses": responses(about),
    });
    if let Some(request) = &about.request {
        described["requestBody"] = body(request);
    }
    described
}

/// Method and path as one word: `post_runs_id_cancel`.
fn id(operation: &Operation) -> String {
    let path = operation
        .path
        .replace(['{', '}'], "")
        .replace(['/', '.'], "_");
    format!("{}{path}", operation.method)
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let named = operation.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
    });
    let asked = operation.about.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}})
    });
    named.chain(asked).collect()
}

fn body(request: &Request) -> Value {
    let schema = request
        .schema
        .map_or_else(|| json!({"type": "string"}), reference);
    let content = request
        .media
        .iter()
        .map(|media| ((*media).to_owned(), json!({"schema": schema})));
    json!({"required": true, "content": content.collect::<Map<_, _>>()})
}

fn responses(about: &About) -> Value {
    let mut responses = Map::new();
    for (status, schema) in about.answers {
        let mut response = json!({"description": reason(*status)});
        if let Some(schema) = schema {
            response["content"] = json!({"application/json": {"schema": reference(schema)}});
        }
        responses.insert(status.to_string(), response);
    }
    for status in about.problems.iter().chain(&[401, 403, 500, 503]) {
        let schema = reference("Problem");
        let content = json!({"application/problem+json": {"schema": schema}});
        let response = json!({"description": reason(*status), "content": content});
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// A schema by name; in brackets: an array of it.
fn reference(schema: &str) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    match schema
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(name) => json!({"type": "array", "items": reference(name)}),
        None => reference(schema),
    }
}

fn reason(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Answer")
}
