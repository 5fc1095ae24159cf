//! The API over real HTTP on a real Postgres: definitions, problems, the description.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hookwright::api::definitions::Checks;
use hookwright::api::{self, Config, Parts};
use hookwright::approval::{self, Decisions};
use hookwright::call::Destinations;
use hookwright::expression::Value;
use hookwright::secret::{Keyring, Redactor, Secrets};
use hookwright::store::Link;
use hookwright::webhook::{Documents, Rejected, Sources, rejected};
use hookwright::worker::{self, Appender, Definitions, Endings, Metrics, append};
use hookwright::workflow::{Fault, document};
use serde_json::json;

use crate::postgres::{Database, ENVIRONMENT, database};

/// An API on a port of its own, with a database of its own.
pub struct World {
    pub database: Database,
    pub url: String,
    pub client: reqwest::Client,
}

/// An answer, read whole.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A section of the shipped configuration.
fn section<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = include_str!("../../config/default.toml");
    let mut sections: toml::Table = toml::from_str(text).unwrap();
    sections.remove(name).unwrap().try_into().unwrap()
}

/// The shipped configuration of the API, with keys forgotten at once.
pub fn config() -> Config {
    let mut config: Config = section("api");
    config.key_cache_ttl_ms = 0;
    config
}

fn named(kind: &str, text: &str) -> Result<String, Vec<Fault>> {
    let node = document::read(text).map_err(|fault| vec![fault])?;
    match node.get(kind).and_then(document::Node::as_str) {
        Some(name) => Ok(name.to_owned()),
        None => Err(vec![Fault {
            pointer: String::new(),
            line: node.line,
            column: node.column,
            message: format!("{kind} must be text"),
            hint: None,
        }]),
    }
}

/// Readers that only look for the name.
pub fn checks() -> Checks {
    Checks {
        source: |text| named("source", text),
        destination: |text| named("destination", text),
    }
}

/// The writer of a node, without its router: what it stores stays in the inbox.
pub async fn appender(database: &Database) -> Appender {
    let mut link: Link = database.store.link("api test");
    let session = link.open_session("api test").await.unwrap();
    link.open_lane(session, 99).await.unwrap();
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let mut config: worker::Config = section("worker");
    config.append_timeout_ms = 20_000;
    let (appender, queue) = append::channel(&config, &metrics);
    let (router, _nobody) = tokio::sync::mpsc::channel(1);
    tokio::spawn(append::run(Arc::new(queue), link, router));
    appender
}

/// The keeper of rejected deliveries, without sources.
fn rejected(database: &Database, keyring: &Arc<Keyring>, appender: &Appender) -> Arc<Rejected> {
    let registry = prometheus::Registry::new();
    let secrets = Arc::new(Secrets::new(HashMap::new()));
    let config = section("call");
    let destinations = Destinations::new(Vec::new(), Arc::clone(&secrets), config, &registry);
    let parts = rejected::Parts {
        store: database.store.clone(),
        keyring: Arc::clone(keyring),
        environment: ENVIRONMENT.into(),
        sources: Arc::new(Sources::new(secrets)),
        documents: Arc::new(Documents::new(Arc::new(destinations.unwrap()))),
        appender: appender.clone(),
    };
    let limits = rejected::Limits {
        per_minute_max: 10,
        bounds: hookwright::store::rejections::Bounds {
            days: 1,
            count: 100,
            bytes: 1_000_000,
        },
    };
    Rejected::start(parts, rejected::Queue::new(&registry, limits).unwrap())
}

/// An API that is not served yet.
pub async fn parts(database: &Database, keyring: Arc<Keyring>) -> Parts {
    let appender = appender(database).await;
    Parts {
        decisions: Arc::new(Decisions::new(
            database.store.clone(),
            appender.clone(),
            approval::Metrics::new(&prometheus::Registry::new()).unwrap(),
        )),
        rejected: rejected(database, &keyring, &appender),
        config: config(),
        environment: ENVIRONMENT.into(),
        store: database.store.clone(),
        appender,
        definitions: Arc::new(Definitions::new(database.store.clone())),
        endings: Arc::new(Endings::default()),
        keyring,
        secrets: Arc::new(|_| None::<Value>),
        redactor: Arc::new(|| Arc::new(Redactor::default())),
        checks: checks(),
        fetch: Arc::new(|_| Box::pin(async { Err("nothing is fetched here".to_owned()) })),
        reload: Arc::new(|| Box::pin(async { Ok(()) })),
        recent_calls: Arc::new(|_| 0),
        door: Arc::new(|| json!({"received": 0})),
        tasks_max: 10_000,
        work: tokio::runtime::Handle::current(),
    }
}

/// A keyring in a directory that goes away.
pub fn keyring() -> Arc<Keyring> {
    let directory = std::env::temp_dir().join(format!(
        "hookwright-keys-{}",
        hookwright::id::Id::generate()
    ));
    let keyring = Keyring::load_or_create(&directory).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    Arc::new(keyring)
}

/// Serves an API; its address.
pub async fn serve(parts: Parts) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = api::router(parts);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// An API with a fresh database.
pub async fn world() -> World {
    let database = database().await;
    let url = serve(parts(&database, keyring()).await).await;
    World {
        database,
        url,
        client: client(),
    }
}

/// A client that goes nowhere else.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

impl World {
    /// Sends a request with headers; `route` is method and path below the prefix.
    pub async fn send(&self, route: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = route.split_once(' ').unwrap();
        let url = format!("{}{}{path}", self.url, api::PREFIX);
        let mut request = self
            .client
            .request(method.parse().unwrap(), url)
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            body: response.text().await.unwrap(),
        }
    }

    /// Sends a request without headers.
    pub async fn ask(&self, route: &str, body: &str) -> Answer {
        self.send(route, &[], body).await
    }
}

/// A workflow that does nothing but that.
pub fn workflow(version: &str, value: u32) -> String {
    format!(
        "document:\n  dsl: '1.0.3'\n  namespace: shop\n  name: order\n  version: '{version}'\n\
         do:\n  - set-it:\n      set:\n        value: {value}\n"
    )
}

#[tokio::test]
async fn a_version_is_stored_once_and_never_changed() {
    let world = world().await;
    let first = world.ask("POST /workflows", &workflow("1.0.0", 1)).await;
    assert_eq!(first.status, 201, "{}", first.body);
    assert_eq!(first.json()["active"], true);
    let same = world
        .ask(
            "POST /workflows",
            &format!("# again\n{}", workflow("1.0.0", 1)),
        )
        .await;
    assert_eq!(same.status, 200, "a comment is no content");
    let other = world.ask("POST /workflows", &workflow("1.0.0", 2)).await;
    assert_eq!(other.status, 409);
    assert!(
        other.json()["detail"]
            .as_str()
            .unwrap()
            .contains("raise document.version")
    );
    let second = world.ask("POST /workflows", &workflow("1.1.0", 2)).await;
    assert_eq!(second.status, 201);
    let latest = world
        .ask("GET /workflows/shop/order/latest", "")
        .await
        .json();
    assert_eq!(latest["version"], "1.1.0");
    assert_eq!(latest["text"], workflow("1.1.0", 2));
}

#[tokio::test]
async fn rollback_and_retirement() {
    let world = world().await;
    for (version, value) in [("1.0.0", 1), ("1.1.0", 2)] {
        world
            .ask("POST /workflows", &workflow(version, value))
            .await;
    }
    let before = world.database.store.revision().await.unwrap();
    let back = world
        .ask("POST /workflows/shop/order/1.0.0/activate", "")
        .await;
    assert_eq!(
        (back.status, back.json()["active"].clone()),
        (200, json!(true))
    );
    assert_eq!(world.database.store.revision().await.unwrap(), before + 1);
    assert_eq!(
        world
            .ask("DELETE /workflows/shop/order/1.0.0", "")
            .await
            .status,
        204
    );
    assert_eq!(
        world
            .ask("GET /workflows/shop/order/latest", "")
            .await
            .status,
        404
    );
    let gone = world
        .ask("POST /workflows/shop/order/1.0.0/runs", "{}")
        .await;
    assert_eq!(gone.status, 409, "{}", gone.body);
    // The same text again brings it back.
    assert_eq!(
        world
            .ask("POST /workflows", &workflow("1.0.0", 1))
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .ask("GET /workflows/shop/order/latest", "")
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .ask("DELETE /workflows/shop/order/9.9.9", "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn everything_wrong_in_a_workflow_is_told_at_once() {
    let world = world().await;
    let text = workflow("1.0.0", 1)
        .replace("set:", "sett:")
        .replace("'1.0.3'", "'9'");
    let answer = world.ask("POST /workflows", &text).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert!(errors.len() >= 2, "{errors:?}");
    for error in &errors {
        assert!(
            error["line"].as_u64().unwrap() > 1 && error["pointer"].is_string(),
            "{error}"
        );
    }
    assert_eq!(world.ask("GET /workflows", "").await.json(), json!([]));
}

#[tokio::test]
async fn sources_and_destinations_have_versions() {
    let world = world().await;
    for (kind, plural) in [("source", "sources"), ("destination", "destinations")] {
        let put = format!("PUT /{plural}/shop");
        let first = world.ask(&put, &format!("{kind}: shop\n")).await;
        assert_eq!(
            (first.status, first.json()["version"].clone()),
            (201, json!(1))
        );
        let same = world.ask(&put, &format!("{kind}: shop\n")).await;
        assert_eq!(
            (same.status, same.json()["version"].clone()),
            (200, json!(1))
        );
        let text = format!("{kind}: shop\nnew: 1\n");
        let next = world.ask(&put, &text).await;
        assert_eq!(
            (next.status, next.json()["version"].clone()),
            (200, json!(2))
        );
        let shown = world.ask(&format!("GET /{plural}/shop"), "").await.json();
        assert_eq!(shown["text"], text);
        let other = world.ask(&put, &format!("{kind}: elsewhere\n")).await;
        assert_eq!(other.status, 422);
        let wrong = world.ask(&put, &format!("{kind}: [\n")).await;
        assert_eq!(
            (wrong.status, wrong.json()["errors"][0]["line"].is_u64()),
            (422, true)
        );
        assert_eq!(
            world
                .ask(&format!("DELETE /{plural}/shop"), "")
                .await
                .status,
            204
        );
        assert_eq!(
            world.ask(&format!("GET /{plural}/shop"), "").await.status,
            404
        );
        assert_eq!(
            world
                .ask(&format!("DELETE /{plural}/shop"), "")
                .await
                .status,
            404
        );
        let again = world.ask(&put, &format!("{kind}: shop\n")).await;
        assert_eq!(
            (again.status, again.json()["version"].clone()),
            (201, json!(3))
        );
    }
    let numbers: Vec<i32> = sqlx::query_scalar("select distinct number from destinations")
        .fetch_all(world.database.store.pool())
        .await
        .unwrap();
    assert_eq!(numbers.len(), 1, "the queue stays the same over versions");
}

#[tokio::test]
async fn wrong_requests_are_problems() {
    let world = world().await;
    let large = "x".repeat(config().body_bytes_max + 1);
    for (status, route, headers, body) in [
        (404, "GET /nothing", &[][..], ""),
        (404, "GET /runs/5", &[], ""),
        (
            404,
            "GET /runs/01890a5d-ac96-774b-bcce-b302099a8057",
            &[],
            "",
        ),
        (
            404,
            "GET /events/01890a5d-ac96-774b-bcce-b302099a8057",
            &[],
            "",
        ),
        (404, "GET /workflows/a/b/1.0.0", &[], ""),
        (405, "PATCH /runs", &[], ""),
        (400, "GET /runs?stauts=faulted", &[], ""),
        (400, "GET /runs?status=failed", &[], ""),
        (400, "GET /runs?limit=0", &[], ""),
        (400, "GET /runs?after=x", &[], ""),
        (400, "GET /sources/%00", &[], ""),
        (413, "POST /workflows", &[], &large),
        (415, "POST /workflows", &[("content-encoding", "gzip")], "x"),
        (415, "POST /events", &[("content-type", "text/plain")], "x"),
    ] {
        let answer = world.send(route, headers, body).await;
        assert_eq!(answer.status, status, "{route}: {}", answer.body);
        assert_eq!(
            answer.headers["content-type"], "application/problem+json",
            "{route}"
        );
        assert_eq!(answer.json()["status"], status, "{route}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_our_fault() {
    let world = world().await;
    world.database.store.pool().close().await;
    let answer = world.ask("GET /runs", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn the_description_is_complete() {
    let world = world().await;
    let answer = world.ask("GET /openapi.json", "").await;
    let document = answer.json();
    let operations = api::routes().operations().to_vec();
    let mut ids = std::collections::BTreeSet::new();
    for operation in &operations {
        let path = format!("{}{}", api::PREFIX, operation.path);
        let described = &document["paths"][path][operation.method];
        assert!(
            ids.insert(described["operationId"].to_string()),
            "{} twice",
            operation.path
        );
        assert!(!operation.about.summary.is_empty());
    }
    let described = document["paths"].as_object().unwrap().values();
    let count: usize = described.map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, operations.len());
    for part in answer.body.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
