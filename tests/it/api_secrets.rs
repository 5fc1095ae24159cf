//! Secrets through the API: they go in, are sealed for their place, and never come out.

use std::sync::Arc;

use hookwright::secret::SealContext;
use serde_json::json;

use crate::api::{World, client, keyring, parts, serve, world};
use crate::postgres::{ENVIRONMENT, database};

#[tokio::test]
async fn secrets_go_in_and_never_out() {
    let world = world().await;
    let first = world.ask("PUT /secrets/crm", "\"correct-horse\"").await;
    assert_eq!(
        (first.status, first.json()["version"].clone()),
        (200, json!(1))
    );
    let next = world
        .ask(
            "PUT /secrets/crm",
            "{\"value\": {\"token\": \"battery-staple\"}}",
        )
        .await;
    assert_eq!(next.json()["version"], 2);
    let bulk = world
        .ask(
            "PUT /secrets",
            "{\"a\": \"one-secret\", \"crm\": \"three\"}",
        )
        .await;
    assert_eq!((bulk.status, bulk.body.as_str()), (204, ""));
    let shown = world.ask("GET /secrets/crm", "").await;
    assert_eq!(shown.json()["version"], 3);
    assert_eq!(
        shown.json().as_object().unwrap().len(),
        3,
        "name, version, updatedAt"
    );
    assert_eq!(
        world
            .ask("GET /secrets", "")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );

    assert_eq!(world.ask("DELETE /secrets/a", "").await.status, 204);
    assert_eq!(world.ask("GET /secrets/a", "").await.status, 404);
}

#[tokio::test]
async fn secrets_are_sealed_for_their_place() {
    let database = database().await;
    let keyring = keyring();
    let url = serve(parts(&database, Arc::clone(&keyring)).await).await;
    let world = World {
        database,
        url,
        client: client(),
    };
    world
        .ask(
            "PUT /secrets",
            "{\"a\": \"one-secret\", \"crm\": \"three\"}",
        )
        .await;
    let sealed = world.database.store.sealed_secrets().await.unwrap();
    let row = sealed.iter().find(|row| row.name == "a").unwrap();
    let context = SealContext {
        environment: ENVIRONMENT,
        name: "a",
        version: 1,
    };
    let row = hookwright::secret::Sealed {
        kek_id: row.kek_id.clone(),
        wrapped_key: row.wrapped_key.clone(),
        sealed: row.sealed.clone(),
    };
    let plain = keyring.open(&context, &row).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&plain), "one-secret");

    for (name, body) in [
        ("a.b", "\"x\""),
        ("a", "5"),
        ("a", "\"\""),
        ("a", "{not json"),
    ] {
        let refused = world.ask(&format!("PUT /secrets/{name}"), body).await;
        assert!(
            [400, 422].contains(&refused.status),
            "{name} {body}: {}",
            refused.body
        );
    }
}
