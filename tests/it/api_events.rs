//! Publishing CloudEvents in their three modes, and finding out what became of them.

use hookwright::id::Id;
use hookwright::store::Routing;
use serde_json::json;

use crate::api::{World, world};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCHED: (&str, &str) = (
    "content-type",
    "application/cloudevents-batch+json; charset=utf-8",
);

fn order(id: &str) -> serde_json::Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.created",
           "subject": "o-1", "data": {"total": 12}})
}

async fn publish(world: &World, event: &serde_json::Value) -> Id {
    let answer = world
        .send("POST /events", &[STRUCTURED], &event.to_string())
        .await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_structured_event_keeps_its_data_as_written() {
    let world = world().await;
    let text = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/shop\",\"type\":\"t\",\
                \"count\":5,\"ok\":true,\"none\":null,\"data\":{\"a\" : 1.50, \"a\":2}}";
    let answer = world.send("POST /events", &[STRUCTURED], text).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let body = world.ask(&format!("GET /events/{id}/body"), "").await;
    assert_eq!(body.body, "{\"a\" : 1.50, \"a\":2}");
    assert_eq!(body.headers["content-type"], "application/json");
    assert_eq!(body.headers["x-content-type-options"], "nosniff");
    assert!(
        body.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    let shown = world.ask(&format!("GET /events/{id}"), "").await.json();
    assert_eq!(shown["attributes"], json!({"count": "5", "ok": "true"}));
    assert_eq!(
        (&shown["decision"], &shown["eventId"]),
        (&json!("inbox"), &json!("1"))
    );
}

#[tokio::test]
async fn data_of_another_type_is_its_content() {
    let world = world().await;
    for (with, expected) in [
        (
            json!({"datacontenttype": "text/xml", "data": "<a/>"}),
            "<a/>",
        ),
        (
            json!({"datacontenttype": "application/json", "data": "text"}),
            "\"text\"",
        ),
        (
            json!({"datacontenttype": "application/octet-stream", "data_base64": "AGE="}),
            "\0a",
        ),
        (json!({}), ""),
    ] {
        let mut event = order(expected);
        event["id"] = json!(with.to_string());
        event.as_object_mut().unwrap().remove("data");
        event
            .as_object_mut()
            .unwrap()
            .extend(with.as_object().unwrap().clone());
        let id = publish(&world, &event).await;
        assert_eq!(
            world.ask(&format!("GET /events/{id}/body"), "").await.body,
            expected
        );
    }
}

#[tokio::test]
async fn binary_mode_takes_the_body_as_it_is() {
    let world = world().await;
    let headers = [
        ("content-type", "application/xml"),
        ("ce-specversion", "1.0"),
        ("ce-id", "b-1"),
        ("ce-source", "/shop"),
        ("ce-type", "order%20created"),
        ("ce-subject", "%E2%82%AC"),
    ];
    let answer = world.send("POST /events", &headers, "<order/>").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let shown = world.ask(&format!("GET /events/{id}"), "").await.json();
    assert_eq!(shown["type"], "order created");
    assert_eq!(shown["attributes"]["subject"], "€");
    assert_eq!(shown["bodyBytes"], 8);
    let body = world.ask(&format!("GET /events/{id}/body"), "").await;
    assert_eq!(
        (body.body.as_str(), &body.headers["content-type"]),
        ("<order/>", &"application/xml".parse().unwrap())
    );
}

#[tokio::test]
async fn an_id_of_a_source_is_stored_once() {
    let world = world().await;
    let first = publish(&world, &order("1")).await;
    let again = world
        .send("POST /events", &[STRUCTURED], &order("1").to_string())
        .await;
    assert_eq!(again.json(), json!({"id": first, "duplicate": true}));
    let batch = json!([order("1"), order("2"), order("2")]).to_string();
    let answer = world.send("POST /events", &[BATCHED], &batch).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let answers = answer.json();
    assert_eq!(answers[0], json!({"id": first, "duplicate": true}));
    assert_eq!(answers[1]["id"], answers[2]["id"]);
    let ledger = world.ask("GET /ledger", "").await.json();
    assert_eq!(
        (&ledger["events"]["stored"], &ledger["events"]["duplicates"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(
        (&ledger["events"]["inbox"], &ledger["balanced"]),
        (&json!(2), &json!(true))
    );
}

#[tokio::test]
async fn what_is_no_cloudevent_is_refused() {
    let world = world().await;
    let without = |name: &str| {
        let mut event = order("x");
        event.as_object_mut().unwrap().remove(name);
        event.to_string()
    };
    let with = |name: &str, value: serde_json::Value| {
        let mut event = order("x");
        event[name] = value;
        event.to_string()
    };
    for (status, body) in [
        (400, "{".to_owned()),
        (422, "[]".to_owned()),
        (422, without("id")),
        (422, without("source")),
        (422, without("type")),
        (422, with("specversion", json!("0.3"))),
        (422, with("id", json!(""))),
        (422, with("nested", json!({}))),
        (422, with("Upper", json!("x"))),
        (422, with("time", json!("yesterday"))),
        (422, with("subject", json!("a\u{0}b"))),
        (422, with("data_base64", json!("AA=="))),
    ] {
        let answer = world.send("POST /events", &[STRUCTURED], &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let many = json!(vec![order("1"); 1_001]).to_string();
    assert_eq!(
        world.send("POST /events", &[BATCHED], &many).await.status,
        413
    );
    assert_eq!(world.ask("GET /events", "").await.json(), json!([]));
}

#[tokio::test]
async fn pages_go_from_new_to_old_without_gaps() {
    let world = world().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut event = order(&n.to_string());
        event["type"] = json!(if n % 2 == 0 { "even" } else { "odd" });
        ids.push(publish(&world, &event).await.to_string());
    }
    ids.reverse();
    let (mut seen, mut path) = (Vec::new(), "/events?limit=2".to_owned());
    loop {
        let page = world.ask(&format!("GET {path}"), "").await;
        for event in page.json().as_array().unwrap() {
            seen.push(event["id"].as_str().unwrap().to_owned());
        }
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        assert!(link.ends_with("; rel=\"next\""));
        path = format!(
            "/{}",
            link.strip_prefix('<').unwrap().split('>').next().unwrap()
        );
    }
    assert_eq!(seen, ids);
    let odd = world.ask("GET /events?type=odd", "").await.json();
    assert_eq!(odd.as_array().unwrap().len(), 2);
    assert_eq!(
        world.ask("GET /events?source=/other", "").await.json(),
        json!([])
    );
}

#[tokio::test]
async fn a_replay_is_a_new_event_that_names_the_old() {
    let world = world().await;
    let first = publish(&world, &order("1")).await;
    let answer = world.ask(&format!("POST /events/{first}/replay"), "").await;
    assert_eq!(
        (answer.status, &answer.json()["duplicate"]),
        (202, &json!(false))
    );
    let second = answer.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(second, first.to_string());
    let shown = world.ask(&format!("GET /events/{second}"), "").await.json();
    assert_eq!(shown["attributes"]["replayof"], json!(first));
    assert_eq!(shown["eventId"], "1");
}

#[tokio::test]
async fn an_event_that_starts_nothing_says_why() {
    let world = world().await;
    let id = publish(&world, &order("1")).await;
    let mut link = world.database.store.link("route");
    let session = link.open_session("route").await.unwrap();
    link.open_lane(session, 1).await.unwrap();
    let ignored = vec![(id, "no active workflow listens".to_owned())];
    let batch = Routing {
        session,
        events: vec![id],
        ignored,
        ..Routing::default()
    };
    link.route(&batch).await.unwrap();
    let shown = world.ask(&format!("GET /events/{id}"), "").await.json();
    assert_eq!(shown["decision"], "ignored");
    assert_eq!(shown["ignored"], "no active workflow listens");
    let ledger = world.ask("GET /ledger", "").await.json();
    assert_eq!(
        (&ledger["events"]["ignored"], &ledger["balanced"]),
        (&json!(1), &json!(true))
    );
}
