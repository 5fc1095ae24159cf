//! OAuth2 and digest: what a token endpoint is asked, when it is asked again, and that nodes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::postgres::database;
use crate::world::destination::{Call, Destination, Reply};
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{Scratch, World, until};

/// Tokens `token-value-1`, `token-value-2`, … with a life of so many seconds.
async fn authority(expires_in: u64) -> Destination {
    Destination::start(move |_, number| {
        let body = json!({
            "access_token": format!("token-value-{number}"),
            "token_type": "Bearer",
            "expires_in": expires_in,
        });
        Reply::new(200)
            .after(Duration::from_millis(50))
            .body(&body.to_string())
    })
    .await
}

fn workflow(name: &str, uri: &str, oauth2: &str) -> String {
    format!(
        "document: {{dsl: 1.0.3, namespace: test, name: {name}, version: 1.0.0}}
use:
  secrets: [api]
  authentications:
    granted: {{oauth2: {oauth2}}}
do:
  - call:
      call: http
      with: {{method: get, endpoint: {{uri: '{uri}', authentication: {{use: granted}}}}}}
"
    )
}

fn pairs(call: &Call) -> Vec<(String, String)> {
    form_urlencoded::parse(&call.body).into_owned().collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

async fn secret(client: &Client) {
    let value = json!({"id": "the client", "secret": "s3cret&of=the client"});
    let put = client.put("/api/v1/secrets/api", value.to_string()).await;
    put.good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_once_and_used_until_it_ends() {
    let (login, api) = (authority(3_600).await, Destination::answering(&[200]).await);
    let world = World::start().await;
    secret(&world.client).await;
    let oauth2 = format!(
        "{{authority: '{}/realm/', grant: client_credentials, endpoints: {{token: /token}},
           client: {{id: '${{ $secrets.api.id }}', secret: '${{ $secrets.api.secret }}'}},
           scopes: [read, write], audiences: [one, two]}}",
        login.url()
    );
    world.workflow(&workflow("post", &api.url(), &oauth2)).await;
    for _ in 0..3 {
        let run = world.run_of("test/post", &json!({})).await;
        assert_eq!(run["status"], "completed", "{run}");
        assert!(!run.to_string().contains("token-value"), "{run}");
    }
    let asked = login.calls();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/realm/token");
    assert_eq!(asked[0].header("authorization"), "");
    let expected = [
        pair("grant_type", "client_credentials"),
        pair("client_id", "the client"),
        pair("client_secret", "s3cret&of=the client"),
        pair("scope", "read write"),
        pair("audience", "one two"),
    ];
    assert_eq!(pairs(&asked[0]), expected);
    for call in api.calls() {
        assert_eq!(call.header("authorization"), "Bearer token-value-1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_prove_who_they_are_in_each_way() {
    let (login, api) = (authority(3_600).await, Destination::answering(&[200]).await);
    let world = World::start().await;
    secret(&world.client).await;
    let url = login.url();
    let client = |more: &str| {
        format!(
            "{{authority: '{url}', grant: client_credentials,
               client: {{id: a b, secret: 'x:y', {more}}}}}"
        )
    };
    let basic = client("authentication: client_secret_basic");
    let none = client("authentication: none");
    let json = client("").replace("grant:", "request: {encoding: application/json}, grant:");
    for (name, oauth2) in [("basic", basic), ("none", none), ("json", json)] {
        world.workflow(&workflow(name, &api.url(), &oauth2)).await;
        let run = world.run_of(&format!("test/{name}"), &json!({})).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    let asked = login.calls();
    assert_eq!(asked[0].path, "/oauth2/token");
    // RFC 6749 section 2.3.1: `a+b:x%3Ay`.
    assert_eq!(asked[0].header("authorization"), "Basic YStiOnglM0F5");
    assert_eq!(pairs(&asked[0]), [pair("grant_type", "client_credentials")]);
    assert_eq!(asked[1].header("authorization"), "");
    let unproved = [
        pair("grant_type", "client_credentials"),
        pair("client_id", "a b"),
    ];
    assert_eq!(pairs(&asked[1]), unproved);
    assert_eq!(asked[2].header("content-type"), "application/json");
    let members = json!({
        "grant_type": "client_credentials", "client_id": "a b", "client_secret": "x:y",
    });
    assert_eq!(asked[2].json(), members);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_secret_is_a_policy() {
    let (login, api) = (authority(3_600).await, Destination::answering(&[200]).await);
    let world = World::start().await;
    let policy = json!({
        "authority": login.url(), "grant": "client_credentials",
        "client": {"id": "sealed", "secret": "sealed-secret"}, "scopes": ["all"],
    });
    let put = world.client.put("/api/v1/secrets/api", policy.to_string());
    put.await.good();
    world
        .workflow(&workflow("sealed", &api.url(), "{use: api}"))
        .await;
    let run = world.run_of("test/sealed", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert!(pairs(&login.calls()[0]).contains(&pair("client_id", "sealed")));
    assert_eq!(
        api.calls()[0].header("authorization"),
        "Bearer token-value-1"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_renewed_once() {
    let login = authority(3_600).await;
    let api = Destination::start(|call, _| {
        let good = call.header("authorization") == "Bearer token-value-2";
        Reply::new(if good && !call.path.contains("never") {
            200
        } else {
            401
        })
    })
    .await;
    let world = World::start().await;
    let oauth2 = format!(
        "{{authority: '{}', grant: client_credentials, client: {{id: a, secret: b}}}}",
        login.url()
    );
    world.workflow(&workflow("once", &api.url(), &oauth2)).await;
    let run = world.run_of("test/once", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!((login.count(), api.count()), (2, 2));
    let never = workflow("never", &format!("{}/never", api.url()), &oauth2);
    world.workflow(&never).await;
    let run = world.run_of("test/never", &json!({})).await;
    assert_eq!(run["error"]["status"], 401, "{run}");
    assert_eq!((login.count(), api.count()), (3, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_error_is_authentication() {
    let login = Destination::start(|call, _| {
        let jwt = "e30.eyJpc3MiOiJodHRwczovL290aGVyIn0.x";
        let granted = json!({"access_token": jwt}).to_string();
        match call.path.as_str() {
            "/issuer" => Reply::new(200).body(&granted),
            "/empty" => Reply::new(200).body("{}"),
            "/moved" => Reply::new(307).header("location", "/issuer"),
            _ => Reply::new(400).body(r#"{"error":"invalid_client"}"#),
        }
    })
    .await;
    let api = Destination::answering(&[200]).await;
    let world = World::start().await;
    for name in ["refused", "empty", "moved", "issuer"] {
        let oauth2 = format!(
            "{{authority: '{}', grant: client_credentials, endpoints: {{token: {name}}},
               issuers: ['https://mine'], client: {{id: a, secret: b}}}}",
            login.url()
        );
        world.workflow(&workflow(name, &api.url(), &oauth2)).await;
        let run = world.run_of(&format!("test/{name}"), &json!({})).await;
        let error = &run["error"];
        assert!(
            error["type"].as_str().unwrap().ends_with("/authentication"),
            "{run}"
        );
        assert_eq!(error["status"], 401, "{run}");
        assert_eq!(error["instance"], "/do/0/call");
    }
    assert_eq!(api.count(), 0);
}

/// Runs of `test/shared` on each node at once.
async fn runs(clients: &[&Client], each: usize) {
    let path = "/api/v1/workflows/test/shared/latest/runs?wait=30s";
    let starts = clients
        .iter()
        .flat_map(|client| (0..each).map(move |_| client.post(path, "{}")));
    for answer in join_all(starts).await {
        let run: Value = answer.good();
        assert_eq!(run["status"], "completed", "{run}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_a_token_and_renew_it_once() {
    // Thirty seconds before its end a token is not used any more.
    let fresh = Duration::from_secs(2);
    let login = authority(30 + fresh.as_secs()).await;
    let revoked = Arc::new(AtomicUsize::new(0));
    let gone = Arc::clone(&revoked);
    let api = Destination::start(move |call, _| {
        let token = call.header("authorization").rsplit('-').next().unwrap();
        let good = token.parse::<usize>().unwrap() > gone.load(Ordering::SeqCst);
        Reply::new(if good { 200 } else { 401 })
    })
    .await;
    let (database, scratch) = (database().await, Scratch::new());
    let plan = Plan::new(&database.url, scratch.path());
    let one = plan.start().await;
    let two = plan.sibling().start().await;
    let put = one.client.put("/api/v1/secrets/api", r#""sealed-secret""#);
    put.await.good();
    let destination = format!(
        "{{destination: api, baseUrl: '{}', authentication: {{oauth2: {{
           authority: '{}', grant: client_credentials,
           client: {{id: me, secret: {{secret: api}}}}}}}}}}",
        api.url(),
        login.url()
    );
    let put = one.client.put("/api/v1/destinations/api", destination);
    put.await.good();
    let text = "
document: {dsl: 1.0.3, namespace: test, name: shared, version: 1.0.0}
do:
  - call: {call: http, with: {method: get, endpoint: 'destination://api/x'}}
";
    one.client.post("/api/v1/workflows", text).await.good();
    until("the second node has loaded the destination", async || {
        let path = "/api/v1/workflows/test/shared/latest/runs?wait=30s";
        let run = two.client.post(path, "{}").await.good();
        (run["status"] == "completed").then_some(())
    })
    .await;
    let both = [&one.client, &two.client];
    while login.count() < 3 {
        runs(&both, 10).await;
    }
    let asked = login.calls();
    for (before, after) in asked.iter().zip(&asked[1..]) {
        let gap = after.at - before.at;
        assert!(gap >= fresh, "asked again after {gap:?}");
    }
    // One that is revoked is renewed by one of all that meet the refusal.
    let before = login.count();
    revoked.store(before, Ordering::SeqCst);
    runs(&both, 5).await;
    let after = login.count();
    assert!(after > before, "it was renewed");
    let asked = login.calls();
    let gaps = asked[before..].windows(2).map(|two| two[1].at - two[0].at);
    assert!(gaps.min().is_none_or(|gap| gap >= fresh), "and once");
    let stored: Vec<(Vec<u8>,)> = sqlx::query_as("select sealed from tokens")
        .fetch_all(database.store.pool())
        .await
        .unwrap();
    assert_eq!(stored.len(), 1);
    let plain = String::from_utf8_lossy(&stored[0].0).into_owned();
    assert!(!plain.contains("token-value"), "sealed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_replaced_by_its_successor() {
    let login = Destination::start(|call, number| {
        let given = pairs(call)
            .into_iter()
            .find(|(name, _)| name == "refresh_token");
        let expected = match number {
            1 => "refresh-0".to_owned(),
            _ => format!("refresh-{}", number - 1),
        };
        if given.unwrap().1 != expected {
            return Reply::new(400).body(r#"{"error":"invalid_grant"}"#);
        }
        let body = json!({
            "access_token": format!("token-value-{number}"), "expires_in": "3600",
            "refresh_token": format!("refresh-{number}"),
        });
        Reply::new(200).body(&body.to_string())
    })
    .await;
    let stale = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&stale);
    let api = Destination::start(move |_, _| {
        let refused = refuses.swap(false, Ordering::SeqCst);
        Reply::new(if refused { 401 } else { 200 })
    })
    .await;
    let mut world = World::start().await;
    let put = world.client.put("/api/v1/secrets/first", r#""refresh-0""#);
    put.await.good();
    let destination = format!(
        "{{destination: api, baseUrl: '{}', authentication: {{oauth2: {{
           authority: '{}', grant: refresh_token, refreshToken: {{secret: first}},
           client: {{id: me, authentication: none}}}}}}}}",
        api.url(),
        login.url()
    );
    let put = world.client.put("/api/v1/destinations/api", destination);
    put.await.good();
    let text = "
document: {dsl: 1.0.3, namespace: test, name: renewed, version: 1.0.0}
do:
  - call: {call: http, with: {method: get, endpoint: 'destination://api/x'}}
";
    world.workflow(text).await;
    for round in 1..=3 {
        // A restart forgets what the node knows, not what the database does.
        let run = world.run_of("test/renewed", &json!({})).await;
        assert_eq!(run["status"], "completed", "{run}");
        assert_eq!(login.count(), round, "one for each refusal");
        let calls = api.calls();
        let last = calls.last().unwrap().header("authorization");
        assert_eq!(last, format!("Bearer token-value-{round}"));
        world.restart().await;
        stale.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_challenge_is_answered() {
    const CHALLENGE: &str = "Digest realm=\"api\", qop=\"auth\", nonce=\"abc\", opaque=\"xyz\"";
    let api = Destination::start(|call, _| {
        let answer = call.header("authorization").to_owned();
        if !answer.starts_with("Digest ") {
            return Reply::new(401).header("www-authenticate", CHALLENGE);
        }
        let mut challenge = digest_auth::parse(CHALLENGE).unwrap();
        let given = digest_auth::AuthorizationHeader::parse(&answer).unwrap();
        let mut context = digest_auth::AuthContext::new("ann", "pass-of-ann", call.path.as_str());
        context.set_custom_cnonce(given.cnonce.clone().unwrap());
        let good = challenge.respond(&context).unwrap().response == given.response;
        Reply::new(if good { 200 } else { 403 })
    })
    .await;
    let world = World::start().await;
    let text = format!(
        "document: {{dsl: 1.0.3, namespace: test, name: digest, version: 1.0.0}}
do:
  - call:
      call: http
      with:
        method: get
        endpoint:
          uri: '{}/a?b=c'
          authentication: {{digest: {{username: ann, password: pass-of-ann}}}}
",
        api.url()
    );
    world.workflow(&text).await;
    let run = world.run_of("test/digest", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(api.count(), 2);
}
