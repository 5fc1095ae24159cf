//! Approvals through the server: links, the page, the API, two nodes, and what is never missed.

use serde_json::{Value, json};

use crate::postgres::database;
use crate::world::destination::{Destination, Reply};
use crate::world::process::Plan;
use crate::world::wire::{Answer, Client};
use crate::world::{Request, Scratch, World, until};

/// A workflow that asks `with`, and tells each approver at `chat`.
fn workflow(name: &str, chat: &str, with: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}}
do:
  - ask:
      call: approval:1.0.0@default
      with:
        title: '${{ \"Give \\(.user) <b>access</b>?\" }}'
        notify:
          call: http
          with:
            method: post
            endpoint: {chat}/chat
            body: {{ to: '${{ $approval.approver }}', link: '${{ $approval.link }}' }}
        {with}
"
    )
}

async fn started(client: &Client, name: &str) -> String {
    let path = format!("/api/v1/workflows/t/{name}/latest/runs");
    let run = client.post(&path, r#"{"user":"eve"}"#).await.good();
    run["id"].as_str().unwrap().to_owned()
}

/// The approval of a run.
async fn approval(client: &Client, run: &str) -> Value {
    until("somebody is asked", async || {
        let path = format!("/api/v1/approvals?run={run}");
        let found = client.get(&path).await.good();
        found[0].is_object().then(|| found[0].clone())
    })
    .await
}

async fn ended(client: &Client, run: &str) -> Value {
    until("the run has ended", async || {
        let run = client.get(&format!("/api/v1/runs/{run}")).await.good();
        run["endedAt"].is_string().then_some(run)
    })
    .await
}

async fn waits(client: &Client, run: &str) {
    until("the run waits", async || {
        let run = client.get(&format!("/api/v1/runs/{run}")).await.good();
        (run["status"] == "waiting").then_some(())
    })
    .await;
}

/// The path of the link that this approver was told.
fn link(chat: &Destination, to: &Value) -> String {
    let told = chat
        .calls()
        .iter()
        .map(|call| call.json())
        .collect::<Vec<_>>();
    let told = told.iter().find(|told| told["to"] == *to).unwrap();
    let url = told["link"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:0").unwrap();
    path.to_owned()
}

async fn submit(client: &Client, path: &str, form: &str) -> Answer {
    let request = Request::new("POST", path, form)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-forwarded-for", "203.0.113.9");
    client.send(&request).await
}

async fn decide(client: &Client, approval: &Value, word: &str, body: &Value) -> Answer {
    let id = approval["id"].as_str().unwrap();
    let path = format!("/api/v1/approvals/{id}/{word}");
    client.post(&path, body.to_string()).await
}

async fn shows_the_page(client: &Client, path: &str) {
    let page = client.get(path).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().contains("Give eve &lt;b&gt;access&lt;/b&gt;?"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("<script") && page.text().contains("name=\"form.days\""));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
}

async fn refuses_what_is_wrong(client: &Client, path: &str) {
    // What is filled in wrongly decides nothing.
    for (form, status) in [
        ("decision=approve&by=ada", 422),
        ("decision=approve&by=ada&form.role=owner", 422),
        ("decision=approve&by=ada&form.role=admin&form.days=31", 422),
        ("decision=approve&by=ada&form.role=admin&form.days=x", 422),
        ("decision=approve&form.role=admin", 422),
        ("decision=maybe&by=ada&form.role=admin", 422),
        ("by=ada", 422),
    ] {
        assert_eq!(submit(client, path, form).await.status, status, "{form}");
    }
    assert_eq!(
        submit(client, "/approvals/unknown", "decision=approve&by=ada")
            .await
            .status,
        404
    );
}

/// How many rows hold this text, in whatever way.
async fn at_rest(world: &World, text: &str) -> i64 {
    let mut found = 0;
    for table in [
        "events",
        "journal",
        "approvals",
        "approval_links",
        "runs",
        "mail",
    ] {
        let sql = format!(
            "select count(*) from {table} t where t::text like '%' || $1 || '%' \
             or t::text like '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%'"
        );
        found += sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql))
            .bind(text)
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_shows_a_page_and_decides_once() {
    let chat = Destination::answering(&[200]).await;
    let world = World::start().await;
    let client = &world.client;
    let with = "form: {required: [role], properties: {role: {type: string, enum: [reader, admin]}, \
                days: {type: integer, maximum: 30}, audited: {type: boolean}}}";
    world.workflow(&workflow("form", &chat.url(), with)).await;
    let run = started(client, "form").await;
    chat.called(1).await;
    let path = link(&chat, &Value::Null);
    for _ in 0..3 {
        shows_the_page(client, &path).await;
    }
    let asked = approval(client, &run).await;
    assert_eq!(
        (&asked["status"], &asked["decisions"]),
        (&json!("pending"), &json!([]))
    );
    waits(client, &run).await;
    refuses_what_is_wrong(client, &path).await;
    let good =
        "decision=approve&by=+ada+&comment=%3Cgo%3E&form.role=admin&form.days=7&form.audited=true";
    let answer = submit(client, &path, good).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(submit(client, &path, good).await.status, 409);
    let run = ended(client, &run).await;
    let form = json!({"role": "admin", "days": 7, "audited": true});
    let output = json!({"decision": "approved", "by": "ada", "comment": "<go>", "form": form});
    assert_eq!(run["output"], output, "{run}");
    let path_of = format!("/api/v1/approvals/{}", asked["id"].as_str().unwrap());
    let asked = client.get(&path_of).await.good();
    assert_eq!(asked["status"], "approved");
    let decision = &asked["decisions"][0];
    assert_eq!(
        (&decision["via"], &decision["by"]),
        (&json!("link"), &json!("ada"))
    );
    assert_eq!(
        decision["from"],
        json!({"address": "127.0.0.1", "forwardedFor": "203.0.113.9"})
    );
    assert!(
        decision["at"].is_string() && asked["closedAt"].is_string(),
        "{asked}"
    );
    assert_eq!(submit(client, &path, good).await.status, 409);
    let page = client.get(&path).await;
    assert!(
        page.status == 200 && !page.text().contains("<form"),
        "{}",
        page.text()
    );
    assert_eq!(at_rest(&world, path.rsplit('/').next().unwrap()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_of_named_people_who_do_not_ask_themselves() {
    let chat = Destination::answering(&[200]).await;
    let world = World::start().await;
    let client = &world.client;
    let with = "approvers: [Ada, Bob, Eve]\n        quorum: 2\n        requestedBy: '${ .user }'";
    world.workflow(&workflow("quorum", &chat.url(), with)).await;
    let run = started(client, "quorum").await;
    chat.called(3).await;
    let asked = approval(client, &run).await;
    let links = ["Ada", "Bob", "Eve"].map(|name| link(&chat, &json!(name)));
    assert_eq!(
        submit(client, &links[2], "decision=approve").await.status,
        403
    );
    assert_eq!(
        submit(client, &links[0], "decision=approve&by=Bob")
            .await
            .status,
        200
    );
    assert_eq!(
        submit(client, &links[0], "decision=reject").await.status,
        409
    );
    let again = decide(client, &asked, "approve", &json!({"by": "ada"})).await;
    assert_eq!(again.status, 409, "{}", again.text());
    let stranger = decide(client, &asked, "approve", &json!({"by": "mallory"})).await;
    assert_eq!(stranger.status, 422, "{}", stranger.text());
    let own = decide(client, &asked, "approve", &json!({"by": "eve"})).await;
    assert_eq!(own.status, 403, "{}", own.text());
    let wrong = decide(
        client,
        &asked,
        "approve",
        &json!({"by": "bob", "form": {"a": 1}}),
    )
    .await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let taken = decide(
        client,
        &asked,
        "approve",
        &json!({"by": "bob", "comment": "fine"}),
    )
    .await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(taken.json()["by"], "Bob");
    let run = ended(client, &run).await;
    let people: Vec<_> = run["output"]["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(run["output"]["by"], "Bob");
    assert_eq!((people.len(), &people[0]["by"]), (2, &json!("Ada")));
    let late = decide(client, &asked, "reject", &json!({})).await;
    assert_eq!(late.status, 409, "{}", late.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_cannot_be_decided_and_says_why() {
    let chat = Destination::answering(&[200]).await;
    let world = World::start().await;
    let client = &world.client;
    let with = "timeout: PT1S\n        onTimeout: rejected";
    world
        .workflow(&workflow("silence", &chat.url(), with))
        .await;
    let run = started(client, "silence").await;
    let asked = approval(client, &run).await;
    let run = ended(client, &run).await;
    assert_eq!(
        run["output"],
        json!({"decision": "rejected", "by": "timeout", "comment": null})
    );
    let late = decide(client, &asked, "approve", &json!({})).await;
    assert_eq!(late.status, 410, "{}", late.text());
    assert!(
        late.text().contains("the time to decide ended"),
        "{}",
        late.text()
    );
    let path = link(&chat, &Value::Null);
    assert_eq!(
        submit(client, &path, "decision=approve&by=ada")
            .await
            .status,
        410
    );
    assert_eq!(client.get(&path).await.status, 410);
    // Given up with what was around it.
    let race = "document: {dsl: '1.0.3', namespace: t, name: race, version: '1.0.0'}\n\
                do: [{f: {fork: {compete: true, branches: [\
                {a: {call: 'approval:1.0.0@default', with: {title: A}}}, \
                {b: {wait: PT0.5S}}]}}}]";
    world.workflow(race).await;
    let run = started(client, "race").await;
    let asked = approval(client, &run).await;
    ended(client, &run).await;
    let late = decide(client, &asked, "approve", &json!({})).await;
    assert_eq!(late.status, 410, "{}", late.text());
    assert!(late.text().contains("no longer waits"), "{}", late.text());
    let count = |status: &'static str| async move {
        let path = format!("/api/v1/approvals?status={status}&limit=1000");
        client.get(&path).await.good().as_array().unwrap().len()
    };
    assert_eq!((count("pending").await, count("expired").await), (0, 1));
    assert_eq!(count("cancelled").await, 1);
    let page = client
        .get("/api/v1/approvals?limit=1&workflow=t/race")
        .await;
    assert_eq!(page.json()[0]["title"], "A");
    assert!(page.header("link").is_some());
    assert_eq!(
        client.get("/api/v1/approvals?status=open").await.status,
        400
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_comes_while_a_call_is_in_flight_is_not_missed() {
    let slow = std::time::Duration::from_secs(20);
    let chat = Destination::start(move |_, _| Reply::new(200).after(slow)).await;
    let world = World::start().await;
    let client = &world.client;
    world
        .workflow(&workflow("flight", &chat.url(), "approvers: [ada]"))
        .await;
    let run = started(client, "flight").await;
    chat.called(1).await;
    let path = link(&chat, &json!("ada"));
    assert_eq!(
        submit(client, &path, "decision=reject&comment=no")
            .await
            .status,
        200
    );
    let run = ended(client, &run).await;
    assert_eq!(
        run["output"],
        json!({"decision": "rejected", "by": "ada", "comment": "no"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_on_another_node_is_heard_and_one_while_the_worker_is_dead_too() {
    let chat = Destination::answering(&[200]).await;
    let (database, scratch) = (database().await, Scratch::new());
    let plan = Plan::new(&database.url, scratch.path()).with_short_sessions();
    let first = plan.start().await;
    let second = plan
        .sibling()
        .with("worker.runs_in_flight_max", "1")
        .start()
        .await;
    let text = workflow(
        "nodes",
        &chat.url(),
        "approvers: [ada, bob]\n        quorum: 2",
    );
    first.client.post("/api/v1/workflows", text).await.good();
    let run = started(&first.client, "nodes").await;
    let asked = approval(&second.client, &run).await;
    let taken = decide(&second.client, &asked, "approve", &json!({"by": "ada"})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    until("the first voice is counted", async || {
        let asked = approval(&second.client, &run).await;
        (asked["decisions"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    // Both die at once when the second voice is acknowledged.
    let taken = decide(&second.client, &asked, "approve", &json!({"by": "bob"})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    second.kill();
    first.kill();
    let third = plan.sibling().start().await;
    let run = ended(&third.client, &run).await;
    assert_eq!(
        (&run["output"]["decision"], &run["output"]["by"]),
        (&json!("approved"), &json!("bob"))
    );
    third.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_operators_decide_and_the_key_is_on_record() {
    let chat = Destination::answering(&[200]).await;
    let mut world = World::start().await;
    world
        .workflow(&workflow("keys", &chat.url(), "approvers: [it-managers]"))
        .await;
    let run = started(&world.client, "keys").await;
    let asked = approval(&world.client, &run).await;
    let mut keys = Vec::new();
    for (name, role) in [
        ("boss", "admin"),
        ("looker", "viewer"),
        ("desk", "operator"),
    ] {
        let body = json!({"name": name, "role": role}).to_string();
        let request = Request::new("POST", "/api/v1/keys", body);
        let request = match keys.first() {
            Some(key) => request.header("authorization", &format!("Bearer {key}")),
            None => request,
        };
        let made = world.client.send(&request).await.good();
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    let path = format!(
        "/api/v1/approvals/{}/approve",
        asked["id"].as_str().unwrap()
    );
    let with = |key: &str| {
        let request = Request::new("POST", &path, "");
        request.header("authorization", &format!("Bearer {key}"))
    };
    assert_eq!(world.client.send(&with(&keys[1])).await.status, 403);
    let taken = world.client.send(&with(&keys[2])).await.good();
    assert_eq!(taken["by"], "desk");
    let path = format!("/api/v1/runs/{run}");
    let run = until("the run has ended", async || {
        let request = Request::new("GET", &path, "");
        let request = request.header("authorization", &format!("Bearer {}", keys[0]));
        let run = world.client.send(&request).await.good();
        run["endedAt"].is_string().then_some(run)
    })
    .await;
    assert_eq!(
        run["output"],
        json!({"decision": "approved", "by": "desk", "comment": null})
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_asks_no_more_and_a_suspended_one_still_hears() {
    let world = World::start().await;
    let client = &world.client;
    let text = "document: {dsl: '1.0.3', namespace: t, name: plain, version: '1.0.0'}\n\
                do: [{a: {call: 'approval:1.0.0@default', with: {title: A}}}]";
    world.workflow(text).await;
    let control = async |run: &str, word: &str| {
        let path = format!("/api/v1/runs/{run}/{word}");
        assert_eq!(client.post(&path, "").await.status, 202, "{word}");
    };
    let run = started(client, "plain").await;
    let asked = approval(client, &run).await;
    control(&run, "cancel").await;
    ended(client, &run).await;
    let late = decide(client, &asked, "approve", &json!({})).await;
    assert_eq!(late.status, 410, "{}", late.text());
    let run = started(client, "plain").await;
    let asked = approval(client, &run).await;
    control(&run, "suspend").await;
    until("the run is suspended", async || {
        let run = client.get(&format!("/api/v1/runs/{run}")).await.good();
        (run["status"] == "suspended").then_some(())
    })
    .await;
    let taken = decide(client, &asked, "approve", &json!({})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let run = ended(client, &run).await;
    assert_eq!(run["output"]["by"], "operator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_a_later_task_does_not_ask_again() {
    let sink = Destination::answering(&[500, 200]).await;
    let world = World::start().await;
    let client = &world.client;
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: t, name: again, version: '1.0.0'}}
do:
  - ask: {{ call: 'approval:1.0.0@default', with: {{ title: A, approvers: [ada] }} }}
  - grant: {{ call: http, with: {{ method: post, endpoint: {}/x, body: '${{ .by }}' }} }}",
        sink.url()
    );
    world.workflow(&text).await;
    let run = started(client, "again").await;
    let asked = approval(client, &run).await;
    let taken = decide(client, &asked, "approve", &json!({"by": "ada"})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(ended(client, &run).await["status"], "faulted");
    let path = format!("/api/v1/runs/{run}/replay");
    let replay = client
        .post(&path, r#"{"from": "/do/1/grant"}"#)
        .await
        .good();
    let again = ended(client, replay["id"].as_str().unwrap()).await;
    assert_eq!(again["status"], "completed", "{again}");
    assert_eq!(sink.count(), 2);
    let approvals = client.get("/api/v1/approvals").await.good();
    assert_eq!(approvals.as_array().unwrap().len(), 1, "{approvals}");
}
