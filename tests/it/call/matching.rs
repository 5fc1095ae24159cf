//! Which destination a call goes to, what survives a reload, and what is counted where.

use std::sync::Arc;

use hookwright::problem::Kind;

use super::sink::Sink;
use super::world::{World, config, declared, get};

fn document(name: &str, base: &str, more: &str) -> String {
    format!("destination: {name}\nbaseUrl: {base}\n{more}")
}

fn name_of(world: &World, uri: &str) -> String {
    world.of(&get(uri)).name().to_owned()
}

#[test]
fn the_longest_base_url_wins_on_whole_segments() {
    let world = World::new(&[
        document("all", "https://api.example", ""),
        document("v2", "https://api.example/v2", ""),
        document("orders", "https://api.example/v2/orders/", ""),
        document("port", "https://api.example:8443/", ""),
    ]);
    for (uri, name) in [
        ("https://api.example", "all"),
        ("https://api.example/v1/x", "all"),
        ("https://api.example/v20", "all"),
        ("https://api.example/v2", "v2"),
        ("https://API.example:443/v2/?q", "v2"),
        ("https://api.example/v2/ordersx", "v2"),
        ("https://api.example/v2/orders", "orders"),
        ("https://api.example/v2/orders/7", "orders"),
        ("https://api.example/v2/orders/../x", "v2"),
        ("https://api.example/v2/orders/%2e%2e/x", "v2"),
        ("https://api.example:8443/v2", "port"),
        ("http://api.example/v2", "undeclared"),
        ("https://api.example.evil.example/v2", "undeclared"),
        ("https://other.example/v2", "undeclared"),
        ("destination://orders/7", "orders"),
        ("destination://orders", "orders"),
        ("destination://nobody/7", "undeclared"),
        ("nonsense", "undeclared"),
    ] {
        assert_eq!(name_of(&world, uri), name, "{uri}");
    }
    assert_eq!(world.of(&get("destination://v2/x")).id(), 2);
    assert_eq!(world.of(&get("https://other.example/")).id(), 0);
}

#[tokio::test]
async fn a_named_call_stays_under_its_base_url() {
    let sink = Sink::saying(200, "1").await;
    let world = World::new(&[document("crm", &sink.url("/v2/"), "")]);
    for (uri, target) in [
        ("destination://crm", "/v2"),
        ("destination://crm/", "/v2/"),
        ("destination://crm/a/../b?c=d", "/v2/b?c=d"),
        ("destination://crm?c=d", "/v2?c=d"),
        ("destination://crm//evil.example/x", "/v2//evil.example/x"),
        ("destination://crm/@evil.example", "/v2/@evil.example"),
    ] {
        world.output(&get(uri)).await;
        assert_eq!(sink.seen().pop().unwrap().target, target, "{uri}");
    }
    let before = sink.seen().len();
    for uri in [
        "destination://crm/../v1/x",
        "destination://crm/%2e%2e/x",
        "destination://crm/a b",
        "destination://crm/\\x",
        "destination://nobody/x",
        "destination://crm:80/x",
        "destination://crm@evil.example/x",
        "destination://",
    ] {
        let (_, problem) = world.error(&get(uri)).await;
        assert!(problem.is(Kind::Configuration), "{uri}: {problem:?}");
    }
    assert_eq!(sink.seen().len(), before);
}

#[tokio::test]
async fn an_unknown_destination_is_named() {
    let (_, problem) = World::new(&[]).error(&get("destination://crn/x")).await;
    assert!(problem.detail.unwrap().contains("`crn`"));
}

#[tokio::test]
async fn a_reload_keeps_calls_in_flight() {
    let base = "http://127.0.0.1:9";
    let world = World::new(&[document("crm", base, "concurrency: 3")]);
    let before = world.of(&get("destination://crm/"));
    let mut held: Vec<_> = (0..3).map(|_| before.try_acquire().unwrap()).collect();
    assert!(before.try_acquire().is_none());

    let one = [document("crm", base, "concurrency: 1")];
    world.destinations.reload(declared(&one)).unwrap();
    let after = world.of(&get("destination://crm/"));
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(after.concurrency(), 1);
    held.pop();
    assert!(after.try_acquire().is_none(), "two are still in flight");
    held.pop();
    assert!(after.try_acquire().is_none(), "one is still in flight");
    held.pop();
    drop(after.try_acquire().unwrap());

    let many = [document("crm", base, "concurrency: 4")];
    world.destinations.reload(declared(&many)).unwrap();
    let held: Vec<_> = (0..4).map(|_| after.try_acquire().unwrap()).collect();
    assert!(after.try_acquire().is_none());
    drop(held);

    world.destinations.reload(Vec::new()).unwrap();
    assert_eq!(name_of(&world, "destination://crm/"), "undeclared");
}

#[tokio::test]
async fn lowering_and_raising_a_limit_again_loses_no_place() {
    let base = "http://127.0.0.1:9";
    let world = World::new(&[document("crm", base, "concurrency: 3")]);
    let destination = world.of(&get("destination://crm/"));
    let held: Vec<_> = (0..3).map(|_| destination.try_acquire().unwrap()).collect();
    for limit in [1, 3] {
        let text = document("crm", base, &format!("concurrency: {limit}"));
        world.destinations.reload(declared(&[text])).unwrap();
    }
    drop(held);
    let held: Vec<_> = (0..3).map(|_| destination.try_acquire().unwrap()).collect();
    assert!(destination.try_acquire().is_none());
    drop(held);
}

#[tokio::test]
async fn undeclared_origins_have_limits_of_their_own_and_are_forgotten() {
    let world = World::new(&[]);
    let first = get("http://127.0.0.1:1/");
    let held = world.of(&first).acquire().await;
    let again = world.of(&first);
    let second = again.try_acquire().unwrap();
    assert!(world.of(&first).try_acquire().is_none());
    drop((second, again));
    for port in 2..=20 {
        let destination = world.of(&get(&format!("http://127.0.0.1:{port}/")));
        assert!(destination.try_acquire().is_some());
    }
    // The busy one was not forgotten among all the idle ones.
    let _second = world.of(&first).try_acquire().unwrap();
    assert!(world.of(&first).try_acquire().is_none());
    drop(held);
}

#[tokio::test]
async fn a_thousand_destinations_have_labels_of_their_own() {
    let documents: Vec<String> = (0..1_001)
        .map(|n| document(&format!("d{n}"), &format!("http://10.0.0.1/{n}"), ""))
        .collect();
    let world = World::new(&documents);
    for number in [0, 999, 1_000] {
        world
            .error(&get(&format!("destination://d{number}/")))
            .await;
    }
    let blocked = |label| {
        let labels = [("destination", label), ("outcome", "blocked")];
        world.metric("hookwright_attempts_total", &labels)
    };
    assert_eq!(
        (blocked("d0"), blocked("d999"), blocked("d1000")),
        (1.0, 1.0, 0.0)
    );
    assert_eq!(blocked("other"), 1.0);
}

#[test]
fn a_wrong_network_in_the_configuration_is_named() {
    let mut config = config();
    config.egress_allow = vec!["10.0.0.0/99".to_owned()];
    let registry = prometheus::Registry::new();
    let secrets = Arc::default();
    let made = hookwright::call::Destinations::new(Vec::new(), secrets, config, &registry);
    let error = made.err().unwrap().to_string();
    assert!(
        error.starts_with("call.egress_allow: `10.0.0.0/99`"),
        "{error}"
    );
}
