//! Redirects: followed only where the workflow says so, judged again at every hop, and never with
//! anything that belongs to the origin they leave.

use hookwright::problem::Kind;
use hookwright::run::Credentials;

use super::sink::{Play, Sink, answer, json};
use super::world::{World, call_with, pair, value};

/// A receiver whose `/old` leads to `to`, with everything else answered by `"there"`.
async fn leading(status: u16, to: String) -> Sink {
    Sink::start(move |seen, _| match seen.target.as_str() {
        "/old" => answer(status, &[("location", &to)], ""),
        _ => json(200, "\"there\""),
    })
    .await
}

#[tokio::test]
async fn a_redirect_is_an_error_unless_it_is_to_be_followed() {
    let sink = leading(302, "/new".to_owned()).await;
    let world = World::new(&[]);
    let effect = call_with("GET", &sink.url("/old"), |_| ());
    let (_, problem) = world.error(&effect).await;
    assert!(problem.is(Kind::Communication));
    assert_eq!(problem.status, 302);
    let effect = call_with("GET", &sink.url("/old"), |request| request.redirect = true);
    assert_eq!(world.output(&effect).await, "\"there\"");
}

#[tokio::test]
async fn the_method_changes_as_http_says() {
    for (status, method, then) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ] {
        let sink = leading(status, "/new".to_owned()).await;
        let effect = call_with(method, &sink.url("/old"), |request| {
            request.redirect = true;
            request.body = (method != "HEAD").then(|| value("{\"a\":1}"));
        });
        World::new(&[]).perform(&effect).await;
        let last = sink.seen().pop().unwrap();
        assert_eq!((&*last.target, &*last.method), ("/new", then), "{status}");
        assert_eq!(last.body.is_empty(), then == "GET" || then == "HEAD");
        assert_eq!(last.header("content-type").is_none(), last.body.is_empty());
    }
}

#[tokio::test]
async fn credentials_stay_at_their_origin() {
    let other = Sink::saying(200, "\"there\"").await;
    let sink = leading(307, other.url("/new")).await;
    let document = format!(
        "destination: crm\nbaseUrl: {}\nheaders: {{ X-Tenant: acme }}\nauthentication:\n  \
         apiKey: {{ in: header, name: X-Api-Key, value: {{ secret: key }} }}",
        sink.url("")
    );
    let world = World::new(&[document]);
    let effect = call_with("POST", "destination://crm/old", |request| {
        request.redirect = true;
        request.body = Some(value("{}"));
        request.headers = vec![pair("Cookie", "a=b"), pair("X-Auth", "own")];
        request.authentication = Some(Credentials::Bearer("t0ken".to_owned().into()));
    });
    assert_eq!(world.output(&effect).await, "\"there\"");
    let first = sink.one();
    for name in ["x-api-key", "x-tenant", "cookie", "x-auth", "authorization"] {
        assert!(first.header(name).is_some(), "{name}");
    }
    let second = other.one();
    for name in ["x-api-key", "x-tenant", "cookie", "x-auth", "authorization"] {
        assert!(second.header(name).is_none(), "{name}");
    }
    assert_eq!(
        second.header("content-type").as_deref(),
        Some("application/json")
    );
}

#[tokio::test]
async fn credentials_stay_on_redirects_within_their_origin() {
    let sink = leading(302, "/new".to_owned()).await;
    let effect = call_with("GET", &sink.url("/old"), |request| {
        request.redirect = true;
        request.authentication = Some(Credentials::Bearer("t0ken".to_owned().into()));
    });
    World::new(&[]).output(&effect).await;
    let last = sink.seen().pop().unwrap();
    assert_eq!(
        last.header("authorization").as_deref(),
        Some("Bearer t0ken")
    );
}

#[tokio::test]
async fn every_hop_is_judged_again() {
    for target in [
        "http://169.254.169.254/",
        "http://10.0.0.1/x",
        "http://metadata.goog/",
    ] {
        let sink = leading(302, target.to_owned()).await;
        let effect = call_with("GET", &sink.url("/old"), |request| request.redirect = true);
        let (_, problem) = World::new(&[]).error(&effect).await;
        assert!(problem.is(Kind::Authorization), "{target}");
    }
    for target in ["file:///etc/passwd", "http:\\\\127.0.0.1/"] {
        let sink = leading(302, target.to_owned()).await;
        let effect = call_with("GET", &sink.url("/old"), |request| request.redirect = true);
        let (_, problem) = World::new(&[]).error(&effect).await;
        assert!(problem.is(Kind::Configuration), "{target}");
    }
}

#[tokio::test]
async fn a_destination_may_reach_where_a_redirect_may_not() {
    // Loopback is allowed to this destination alone, and only on its own port.
    let other = Sink::saying(200, "\"there\"").await;
    let sink = leading(302, other.url("/")).await;
    let document = format!(
        "destination: crm\nbaseUrl: {}\negress: {{ allow: ['127.0.0.1/32:{}'] }}",
        sink.url(""),
        sink.port
    );
    let mut config = super::world::config();
    config.egress_allow.clear();
    let world = World::with(&[document], config);
    let effect = call_with("GET", "destination://crm/old", |request| {
        request.redirect = true
    });
    let (_, problem) = world.error(&effect).await;
    assert!(problem.is(Kind::Authorization));
    assert_eq!(sink.seen().len(), 1);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn circles_end() {
    let sink = leading(302, "/old".to_owned()).await;
    let effect = call_with("GET", &sink.url("/old"), |request| request.redirect = true);
    let (_, problem) = World::new(&[]).error(&effect).await;
    assert!(problem.is(Kind::Communication));
    assert!(problem.detail.unwrap().contains("redirects"));
    assert_eq!(sink.seen().len(), 11);
}

#[tokio::test]
async fn a_followed_3xx_without_a_location_is_no_error() {
    let sink =
        Sink::start(|_, _| Play::Answer(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())).await;
    let effect = call_with("GET", &sink.url("/"), |request| request.redirect = true);
    assert_eq!(World::new(&[]).output(&effect).await, "null");
}
