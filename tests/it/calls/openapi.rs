//! `call: openapi`: documents are read at deployment; parameters go where they belong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookwright::workflow::{Documents, parse_with};
use serde_json::{Value, json};

use crate::world::World;
use crate::world::destination::{Destination, Reply};

/// An API that describes itself at `/api/doc` as `document` says; `gone` takes the document away.
async fn api(document: Value, gone: Arc<AtomicBool>) -> Destination {
    let document = document.to_string();
    Destination::start(move |call, _| match call.path.as_str() {
        "/api/doc" if gone.load(Ordering::SeqCst) => Reply::new(404),
        "/api/doc" => Reply::new(200).body(&document),
        _ => Reply::new(200),
    })
    .await
}

fn three() -> Value {
    json!({
        "openapi": "3.1.0",
        "servers": [{"url": "../{version}", "variables": {"version": {"default": "v3"}}}],
        "components": {"parameters": {"trace": {"name": "X-Trace", "in": "header"}}},
        "paths": {"/orders/{id}/lines": {
            "parameters": [{"name": "id", "in": "path", "required": true}],
            "post": {
                "operationId": "addLine",
                "parameters": [
                    {"$ref": "#/components/parameters/trace"},
                    {"name": "tags", "in": "query"},
                    {"name": "sort", "in": "query", "explode": false},
                    {"name": "filter", "in": "query", "style": "deepObject"},
                    {"name": "seen", "in": "cookie"},
                ],
                "requestBody": {"required": true, "content": {"application/json": {}}},
            },
            "get": {"operationId": "lines"},
        }},
    })
}

fn workflow(api: &Destination, name: &str, operation: &str, parameters: &str) -> String {
    format!(
        "document: {{dsl: 1.0.3, namespace: test, name: {name}, version: 1.0.0}}
do:
  - call:
      call: openapi
      with:
        document: {{endpoint: '{}/api/doc'}}
        operationId: {operation}
        parameters: {parameters}
",
        api.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_go_where_the_document_says() {
    let gone = Arc::new(AtomicBool::new(false));
    let api = api(three(), Arc::clone(&gone)).await;
    let mut world = World::start().await;
    let parameters = "{id: a/b, X-Trace: '${ .t }', tags: [x, y], sort: [a, b],
          filter: {from: 1}, seen: 'a b', sku: TEA, count: 2}";
    let text = workflow(&api, "add", "addLine", parameters);
    world.workflow(&text).await;
    let run = world.run_of("test/add", &json!({"t": "trace-1"})).await;
    assert_eq!(run["status"], "completed", "{run}");
    let calls = api.calls();
    let call = &calls[1];
    assert_eq!(call.method, "POST");
    let query = "tags=x&tags=y&sort=a%2Cb&filter%5Bfrom%5D=1";
    assert_eq!(call.path, format!("/v3/orders/a%2Fb/lines?{query}"));
    assert_eq!(call.header("x-trace"), "trace-1");
    assert_eq!(call.header("cookie"), "seen=a%20b");
    assert_eq!(call.header("content-type"), "application/json");
    assert_eq!(call.json(), json!({"sku": "TEA", "count": 2}));

    // What was read is stored: neither a restart nor another deployment asks again.
    gone.store(true, Ordering::SeqCst);
    world.restart().await;
    world.workflow(&text).await;
    let run = world.run_of("test/add", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(api.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_parameter_that_is_missing_is_a_validation_error() {
    let api = api(three(), Arc::default()).await;
    let world = World::start().await;
    for (name, parameters, missing) in [
        ("no-id", "{sku: TEA}", "`id`"),
        ("no-body", "{id: 1}", "the body"),
        ("dots", "{id: '..', sku: TEA}", "`..`"),
    ] {
        let text = workflow(&api, name, "addLine", parameters);
        world.workflow(&text).await;
        let run = world.run_of(&format!("test/{name}"), &json!({})).await;
        let error = &run["error"];
        assert!(
            error["type"].as_str().unwrap().ends_with("/validation"),
            "{run}"
        );
        assert_eq!(error["instance"], "/do/0/call");
        assert!(error["detail"].as_str().unwrap().contains(missing), "{run}");
    }
    let calls = api.calls();
    assert!(
        calls.iter().all(|call| call.path == "/api/doc"),
        "{calls:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployment_finds_what_cannot_be_called_with_everything_else() {
    let api = api(three(), Arc::default()).await;
    let world = World::start().await;
    let mut text = workflow(&api, "wrong", "addLines", "{}");
    text.push_str(&format!(
        "  - typo:
      call: openapi
      with: {{document: {{endpoint: '{0}/api/doc'}}, operationId: lines, parameters: {{od: 1}}}}
  - none:
      call: openapi
      with: {{document: {{endpoint: {{uri: '{0}/none'}}}}, operationId: x}}
  - late:
      call: openapi
      with: {{document: {{endpoint: '${{ .url }}'}}, operationId: x}}
",
        api.url()
    ));
    let answer = world.client.post("/api/v1/workflows", text).await;
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].clone();
    let errors = errors.as_array().unwrap();
    let said = |at: usize| errors[at]["message"].as_str().unwrap();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(said(0), "the document has no operation `addLines`");
    assert_eq!(errors[0]["pointer"], "/do/0/call/with/operationId");
    assert_eq!(errors[0]["hint"], "did you mean `addLine`?");
    assert_eq!(said(1), "the operation has no parameter `od`");
    assert!(
        said(2).contains("is neither Swagger 2 nor OpenAPI"),
        "{}",
        said(2)
    );
    assert!(said(3).contains("fixed address"), "{}", said(3));
}

/// The operation `op` of a document, as it is stored.
fn pinned(uri: &str, document: &Value) -> Result<Value, String> {
    let text = format!(
        "document: {{dsl: 1.0.3, namespace: test, name: x, version: 1.0.0}}
do: [{{a: {{call: openapi, with: {{document: {{endpoint: '{uri}'}}, operationId: op}}}}}}]"
    );
    let mut documents = Documents::default();
    documents.add(uri.to_owned(), Ok(document.to_string().into_bytes()));
    let definition = parse_with(&text, &documents).map_err(|faults| faults[0].message.clone())?;
    let pins: Value = serde_json::from_slice(&definition.pins.unwrap()).unwrap();
    Ok(pins[0]["operation"].clone())
}

fn swagger(more: Value, operation: Value) -> Value {
    let mut document = json!({"swagger": "2.0", "paths": {"/x": {"put": operation}}});
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document["paths"]["/x"]["put"]["operationId"] = json!("op");
    document
}

#[test]
fn the_base_is_what_the_document_says_else_where_it_lies() {
    let uri = "https://docs.example/api/doc.json";
    for (more, base) in [
        (json!({}), "https://docs.example"),
        (json!({"basePath": "/v2"}), "https://docs.example/v2"),
        (
            json!({"host": "api.example:8443", "basePath": "/", "schemes": ["http", "https"]}),
            "https://api.example:8443",
        ),
        (
            json!({"host": "api.example", "schemes": ["http"]}),
            "http://api.example",
        ),
    ] {
        let operation = pinned(uri, &swagger(more, json!({}))).unwrap();
        assert_eq!(operation["base"], base);
    }
    for (servers, base) in [
        (json!([]), "https://docs.example"),
        (json!([{"url": "/v3/"}]), "https://docs.example/v3"),
        (json!([{"url": "v3"}]), "https://docs.example/api/v3"),
        (
            json!([{"url": "http://api.example/a"}]),
            "http://api.example/a",
        ),
    ] {
        let document = json!({"openapi": "3.0.3", "servers": servers,
            "paths": {"/x": {"get": {"operationId": "op"}}}});
        assert_eq!(pinned(uri, &document).unwrap()["base"], base);
    }
}

#[test]
fn bodies_and_forms_of_swagger_are_parameters() {
    let uri = "http://docs.example/doc";
    let body = json!({"parameters": [{"name": "pet", "in": "body", "required": true}],
        "consumes": ["application/xml", "application/json"]});
    let operation = pinned(uri, &swagger(json!({}), body)).unwrap();
    assert_eq!(operation["parameters"][0]["in"], "body");
    assert_eq!(operation["media"], "application/json");
    let form = json!({"parameters": [{"name": "a", "in": "formData", "type": "string"}]});
    let operation = pinned(uri, &swagger(json!({}), form)).unwrap();
    assert_eq!(operation["media"], "application/x-www-form-urlencoded");
    let file = json!({"parameters": [{"name": "a", "in": "formData", "type": "file"}]});
    let said = pinned(uri, &swagger(json!({}), file)).unwrap_err();
    assert!(said.contains("is a file"), "{said}");
}

#[test]
fn what_cannot_be_followed_is_said() {
    let uri = "http://docs.example/doc";
    for (reference, reason) in [
        ("other.json#/a", "another document"),
        ("#/nowhere", "leads nowhere"),
        ("#/paths/~1x/put/parameters/0", "in a circle"),
    ] {
        let operation = json!({"parameters": [{"$ref": reference}]});
        let said = pinned(uri, &swagger(json!({}), operation)).unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
    let said = pinned(uri, &json!({"openapi": "4.0"})).unwrap_err();
    assert!(said.contains("neither Swagger 2 nor"), "{said}");
}
