//! Who may do what: keys, roles, revocation, and the door that is open as long as there is no key.

use hookwright::api::access::{Role, make};
use hookwright::api::{PREFIX, routes};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api::{World, client, keyring, parts, serve, world};
use crate::postgres::ENVIRONMENT;

async fn key(world: &World, role: Role) -> String {
    let (text, new) = make(ENVIRONMENT, role.word(), role, None).unwrap();
    world.database.store.add_api_key(&new).await.unwrap();
    format!("Bearer {text}")
}

async fn status(world: &World, route: &str, authorization: &str) -> u16 {
    world
        .send(route, &[("authorization", authorization)], "")
        .await
        .status
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let world = world().await;
    let mut keys = Vec::new();
    for role in Role::ALL {
        keys.push((role, key(&world, role).await));
    }
    for operation in routes().operations() {
        let path: Vec<&str> = operation
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect();
        let route = format!("{} {}", operation.method.to_uppercase(), path.join("/"));
        let bare = world.ask(&route, "").await;
        assert_eq!(bare.status, 401, "{route}");
        assert_eq!(
            bare.headers["www-authenticate"],
            "Bearer realm=\"hookwright\""
        );
        for (role, key) in &keys {
            let status = status(&world, &route, key).await;
            let refused = *role < operation.role;
            assert_eq!(status == 403, refused, "{route} as {role:?}: {status}");
            assert!(
                status != 401 && status < 500 || status == 501,
                "{route}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn only_the_whole_right_key_opens() {
    let world = world().await;
    let good = key(&world, Role::Admin).await;
    assert_eq!(status(&world, "GET /runs", &good).await, 200);
    let (soon, _) = good.split_at(good.len() - 1);
    let other_environment = good.replace(ENVIRONMENT, "production");
    let made = make(ENVIRONMENT, "stranger", Role::Admin, None).unwrap().0;
    let stranger = format!("Bearer {made}");
    for wrong in [
        soon,
        &other_environment,
        &stranger,
        "Bearer",
        "Bearer hwk_",
        "Basic eDp5",
        "",
    ] {
        assert_eq!(status(&world, "GET /runs", wrong).await, 401, "{wrong}");
    }
}

#[tokio::test]
async fn keys_end_when_revoked_or_expired() {
    let world = world().await;
    let admin = key(&world, Role::Admin).await;
    let headers = [("authorization", admin.as_str())];
    let body = json!({"name": "ci", "role": "deployer"}).to_string();
    let made = world.send("POST /keys", &headers, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let (id, text) = (made.json()["id"].clone(), made.json()["key"].clone());
    let deployer = format!("Bearer {}", text.as_str().unwrap());
    assert_eq!(status(&world, "GET /runs", &deployer).await, 200);
    assert_eq!(status(&world, "GET /keys", &deployer).await, 403);
    let list = world.send("GET /keys", &headers, "").await;
    assert!(
        !list
            .body
            .contains(text.as_str().unwrap().rsplit('_').next().unwrap())
    );

    // Another node that has seen the key forgets it after its TTL, here at once.
    let url = serve(parts(&world.database, keyring()).await).await;
    let there = World {
        database: crate::postgres::database().await,
        url,
        client: client(),
    };
    assert_eq!(status(&there, "GET /runs", &deployer).await, 200);
    let revoke = format!("DELETE /keys/{}", id.as_str().unwrap());
    assert_eq!(world.send(&revoke, &headers, "").await.status, 204);
    assert_eq!(world.send(&revoke, &headers, "").await.status, 404);
    assert_eq!(status(&world, "GET /runs", &deployer).await, 401);
    assert_eq!(status(&there, "GET /runs", &deployer).await, 401);

    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let (text, new) = make(ENVIRONMENT, "old", Role::Admin, Some(past)).unwrap();
    world.database.store.add_api_key(&new).await.unwrap();
    assert_eq!(
        status(&world, "GET /runs", &format!("Bearer {text}")).await,
        401
    );
}

#[tokio::test]
async fn revoking_the_last_key_leaves_the_door_closed() {
    let world = world().await;
    let first = world
        .ask(
            "POST /keys",
            &json!({"name": "me", "role": "viewer"}).to_string(),
        )
        .await;
    assert_eq!(first.status, 409, "nobody could make another");
    let first = world
        .ask(
            "POST /keys",
            &json!({"name": "me", "role": "admin"}).to_string(),
        )
        .await;
    assert_eq!(first.status, 201);
    assert_eq!(
        world.ask("GET /runs", "").await.status,
        401,
        "the door is closed now"
    );
    let id = first.json()["id"].as_str().unwrap().to_owned();
    world.database.store.revoke_api_key(&id).await.unwrap();
    assert_eq!(world.ask("GET /runs", "").await.status, 401);
}

#[tokio::test]
async fn without_keys_only_this_machine_is_let_in() {
    let world = world().await;
    assert_eq!(world.ask("GET /runs", "").await.status, 200);
    let lured: [(&str, &str); 4] = [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:80"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ];
    for header in lured {
        let answer = world.send("POST /workflows", &[header], "").await;
        assert_eq!(answer.status, 401, "{header:?}");
    }
    for header in [
        ("host", "localhost:8080"),
        ("host", "[::1]:8080"),
        ("origin", "http://localhost"),
    ] {
        assert_eq!(
            world.send("GET /runs", &[header], "").await.status,
            200,
            "{header:?}"
        );
    }
    assert!(PREFIX.starts_with('/'));
}
