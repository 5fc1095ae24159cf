//! Secrets are nowhere to be seen: not in answers of the API, metrics, logs or the database.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::postgres::database;
use crate::world::destination::{Destination, Reply};
use crate::world::process::{Node, Plan};
use crate::world::sender::shopify;
use crate::world::{Scratch, order, until};

/// What every secret begins with: as text, in base64, in hex.
const NEEDLES: [&str; 3] = ["LEAKCANARY", "TEVBS0NBTkFS", "4c45414b43414e415259"];

const SECRETS: [(&str, &str); 4] = [
    ("shop", "LEAKCANARY-signing"),
    ("key", "LEAKCANARY-api-key"),
    ("token", "LEAKCANARY-token"),
    ("password", "LEAKCANARY-password"),
];

const DEFINITIONS: [(&str, &str); 4] = [
    (
        "sources/shop",
        "{source: shop, provider: shopify, secret: {secret: shop}}",
    ),
    (
        "destinations/keyed",
        "{destination: keyed, baseUrl: 'URL/keyed', timeout: PT0.3S,
          retry: {delay: PT0.01S, limit: {attempt: {count: 2}}},
          authentication: {apiKey: {in: header, name: X-Api-Key, value: {secret: key}}}}",
    ),
    (
        "destinations/bearer",
        "{destination: bearer, baseUrl: 'URL/bearer',
          retry: {delay: PT0.01S, limit: {attempt: {count: 2}}},
          authentication: {bearer: {token: {secret: token}}}}",
    ),
    // Six bytes stand before the password, so that it shows in base64.
    (
        "destinations/basic",
        "{destination: basic, baseUrl: 'URL/basic',
          retry: {delay: PT0.01S, limit: {attempt: {count: 2}}},
          authentication: {basic: {username: buyer, password: {secret: password}}}}",
    ),
];

/// Each workflow calls one destination in its own way; several show a secret on purpose.
const WORKFLOWS: [(&str, &str); 5] = [
    (
        "good",
        "{call: http, with: {method: post, endpoint: 'destination://keyed/ok', body: {}}}",
    ),
    (
        "refused",
        "{call: http, with: {method: get, endpoint: 'destination://bearer/401'}}",
    ),
    (
        "broken",
        "{call: http, with: {method: get, endpoint: 'destination://basic/500'}}",
    ),
    (
        "slow",
        "{call: http, with: {method: get, endpoint: 'destination://keyed/hang'}}",
    ),
    (
        "told",
        "{set: {shown: '${ $secrets.token }', in: '${ \"a\" + $secrets.token }'}}",
    ),
];

/// Repeats the credentials it was given, as careless APIs do.
async fn careless() -> Destination {
    Destination::start(|call, _| {
        let given = ["x-api-key", "authorization"].map(|name| call.header(name).to_owned());
        let body = serde_json::json!({"error": given, "at": call.path}).to_string();
        let status = match call.path.rsplit('/').next() {
            Some("401") => 401,
            Some("500") => 500,
            _ => 200,
        };
        let hangs = call.path.ends_with("/hang");
        let delay = std::time::Duration::from_millis(if hangs { 2_000 } else { 0 });
        Reply::new(status)
            .body(&body)
            .after(delay)
            .header("x-echo", &given.concat())
    })
    .await
}

async fn define(node: &Node, destination: &Destination) {
    for (name, value) in SECRETS {
        let path = format!("/api/v1/secrets/{name}");
        node.client.put(&path, format!("\"{value}\"")).await.good();
    }
    for (path, text) in DEFINITIONS {
        let text = text.replace("URL", &destination.url());
        node.client
            .put(&format!("/api/v1/{path}"), text)
            .await
            .good();
    }
    for (name, task) in WORKFLOWS {
        let text = format!(
            "{{document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}},
               use: {{secrets: [token]}},
               schedule: {{on: {{one: {{with: {{type: shopify.orders/create}}}}}}}},
               do: [{{act: {task}}}]}}"
        );
        node.client.post("/api/v1/workflows", text).await.good();
    }
}

/// Needles in a text; the first with its surroundings.
fn clean(place: &str, text: &str) {
    for needle in NEEDLES {
        if let Some(at) = text.find(needle) {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            let to = text.floor_char_boundary(at + 100);
            panic!("{needle} in {place}: … {} …", &text[from..to]);
        }
    }
}

/// Looks through every column of every table that can hold text.
async fn clean_database(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let columns = sqlx::query(
        "select table_name::text, column_name::text, data_type::text
         from information_schema.columns join information_schema.tables using (table_name)
         where columns.table_schema = 'public' and table_type = 'BASE TABLE'
           and data_type in ('text', 'bytea', 'json', 'jsonb', 'character varying')",
    );
    let columns = columns.fetch_all(&mut connection).await.unwrap();
    assert!(columns.len() > 30, "the whole schema: {}", columns.len());
    for row in columns {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let bytes = row.get::<String, _>(2) == "bytea";
        for needle in NEEDLES {
            let condition = if bytes {
                format!("position('{needle}'::bytea in \"{column}\") > 0")
            } else {
                format!("\"{column}\"::text like '%{needle}%'")
            };
            let sql = format!("select count(*) from \"{table}\" where {condition}");
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(found, 0, "{needle} in {table}.{column}");
        }
    }
    connection.close().await.unwrap();
}

/// Looks through the answers that show what is configured and what has happened.
async fn clean_answers(node: &Node, event: &str) {
    for path in [
        "/api/v1/secrets",
        "/api/v1/secrets/token",
        "/api/v1/sources/shop",
        "/api/v1/destinations",
        "/api/v1/destinations/keyed",
        "/api/v1/events",
        "/api/v1/ledger",
        "/api/v1/openapi.json",
        "/metrics",
        "/readyz",
        &format!("/api/v1/events/{event}"),
    ] {
        clean(path, &node.client.get(path).await.text());
    }
    let bad = node
        .client
        .put("/api/v1/secrets/token", "\"LEAKCANARY-cut")
        .await;
    clean("a refusal", &bad.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_nowhere_to_be_seen() {
    let destination = careless().await;
    let database = database().await;
    let scratch = Scratch::new();
    let plan = Plan::new(&database.url, scratch.path());
    let mut node = plan.with("telemetry.filter", "debug").start().await;
    define(&node, &destination).await;
    let sender = shopify().with_secret("LEAKCANARY-signing");
    let event = node
        .client
        .send(&sender.delivery("leak-1", order(1)))
        .await
        .good();
    let forged = sender.with_secret("wrong").delivery("leak-2", order(2));
    let forged = forged.header("authorization", "Bearer LEAKCANARY-of-the-sender");
    assert_eq!(node.client.send(&forged).await.status, 401);
    let event = event["id"].as_str().unwrap().to_owned();
    let runs = until("all runs have ended", async || {
        let path = "/api/v1/runs?limit=50";
        let page = node.client.get(path).await.good();
        let items = page.as_array().unwrap().clone();
        let ended = items.iter().filter(|run| run["endedAt"].is_string());
        (ended.count() == WORKFLOWS.len()).then_some(items)
    })
    .await;

    let mut statuses = Vec::new();
    for run in runs {
        let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
        let shown = node.client.get(&path).await;
        clean(&path, &shown.text());
        let run = shown.json();
        statuses.push((
            run["workflow"]["name"].as_str().unwrap().to_owned(),
            run["status"].clone(),
        ));
    }
    statuses.sort_by(|a, b| a.0.cmp(&b.0));
    let words: Vec<_> = statuses
        .iter()
        .map(|(_, status)| status.as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        ["faulted", "completed", "faulted", "faulted", "completed"],
        "{statuses:?}"
    );
    clean_answers(&node, &event).await;
    clean_database(&database.url).await;
    assert!(node.is_running());
    let log = node.log();
    assert!(log.lines().count() > 5, "{log}");
    clean("the log", &log);
    // The destination did get them: otherwise nothing was tried.
    let calls = destination.calls();
    let given = calls.iter().filter(|call| {
        call.header("x-api-key").contains(NEEDLES[0])
            || call.header("authorization").contains(NEEDLES[0])
            || call.header("authorization").contains(NEEDLES[1])
    });
    assert!(given.count() >= 4);
}
