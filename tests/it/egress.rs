//! The egress guard: every way known to us of reaching what a call must not reach.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookwright::call::egress::{
    self, Allowance, Connections, Guard, Lookup, Reach, Refusal, Unreachable, addresses, resolver,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The port of a listener that must never be reached.
const CANARY: &str = "8443";

/// The one port of loopback that is allowed.
const ALLOWED: &str = "9999";

const CONNECTIONS: Connections = Connections {
    connect_timeout: Duration::from_secs(2),
    idle_max: 4,
    idle_timeout: Duration::from_secs(5),
};

fn guard(allow: &[&str], lookup: Lookup) -> Guard {
    let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
    Guard::new(allow, vec![80, 443, 8080, 8443], CONNECTIONS, lookup)
}

fn decide(guard: &Guard, url: &str) -> Result<Reach, Refusal> {
    guard.admit(&egress::parse(url)?, &[])
}

/// A line of the list: the URL, the verdict (`block`, `allow`, or `resolve` where only the
/// addresses of the name decide), and why.
fn lines() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    include_str!("data/ssrf.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let url = columns.next().unwrap();
            let url = url.replace("{P}", CANARY).replace("{ALLOWED}", ALLOWED);
            (url, columns.next().unwrap(), columns.next().unwrap())
        })
}

#[test]
fn every_known_trick_is_decided_right() {
    let guard = guard(&["127.0.0.1/32:9999"], resolver::system());
    let mut wrong = Vec::new();
    let mut count = 0;
    for (url, wanted, why) in lines() {
        count += 1;
        let verdict = match decide(&guard, &url) {
            Err(_) => "block",
            Ok(_) if wanted == "resolve" => "resolve",
            Ok(_) => "allow",
        };
        if verdict != wanted {
            wrong.push(format!("{url} ({why}): {verdict}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 95);
}

#[test]
fn names_are_judged_by_all_their_addresses() {
    let public = Reach::Public(Vec::new());
    let select = |addresses: &[&str]| {
        let found: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        public.select("api.example", found)
    };
    assert_eq!(
        select(&["93.184.216.34", "2606:4700::1111"]).unwrap().len(),
        2
    );
    for bad in [
        &["127.0.0.1"][..],
        &["93.184.216.34", "127.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["::ffff:169.254.169.254", "8.8.8.8"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["fd00::1"],
    ] {
        assert_eq!(select(bad), Err(Unreachable::Blocked), "{bad:?}");
    }
    assert_eq!(select(&[]), Err(Unreachable::Unknown));
}

#[test]
fn public_addresses_stay_reachable() {
    for address in [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860:4860::8888",
        "2400:cb00::1",
        "3fff:1000::1",
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert!(!addresses::is_forbidden(address), "{address}");
    }
}

#[test]
fn an_allowance_is_a_network_with_or_without_a_port() {
    let on = |text: &str, port| {
        let allowance: Allowance = text.parse().unwrap();
        allowance.on_port(port).map(|network| network.to_string())
    };
    assert_eq!(on("10.1.2.3/16", 5432).as_deref(), Some("10.1.0.0/16"));
    assert_eq!(on("127.0.0.1", 80).as_deref(), Some("127.0.0.1/32"));
    assert_eq!(on("127.0.0.1:80", 80).as_deref(), Some("127.0.0.1/32"));
    assert_eq!(on("127.0.0.1:80", 81), None);
    assert_eq!(on("fd00::/8", 1).as_deref(), Some("fd00::/8"));
    assert_eq!(on("fd00::/8:443", 443).as_deref(), Some("fd00::/8"));
    assert_eq!(on("[::1]:443", 443).as_deref(), Some("::1/128"));
    for wrong in [
        "",
        "10.0.0.0/33",
        "10.0.0.0/8:0",
        "10.0.0.0/8:99999",
        "localhost",
        "::1:x",
    ] {
        assert!(wrong.parse::<Allowance>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_allowed_by_hand_is_reached_in_every_spelling() {
    let guard = guard(&["127.0.0.0/8", "::1"], resolver::system());
    for url in [
        "http://127.0.0.1:4711/",
        "http://[::ffff:127.0.0.1]:4711/",
        "http://localhost:4711/",
        "http://crm.internal:4711/",
        "http://[::1]:4711/",
    ] {
        assert!(decide(&guard, url).unwrap().is_listed_only(), "{url}");
    }
    assert!(decide(&guard, "http://10.0.0.1/").is_err());
    assert!(
        !decide(&guard, "https://example.com/")
            .unwrap()
            .is_listed_only()
    );
}

#[test]
fn a_destination_opens_only_its_own_way() {
    let guard = guard(&[], resolver::system());
    let url = egress::parse("http://10.1.2.3:9000/").unwrap();
    let extra: Allowance = "10.1.0.0/16:9000".parse().unwrap();
    assert!(guard.admit(&url, &[]).is_err());
    assert!(guard.admit(&url, &[extra]).is_ok());
    let other = egress::parse("http://10.1.2.3:9001/").unwrap();
    assert!(guard.admit(&other, &[extra]).is_err());
}

#[test]
fn refusals_tell_nothing_about_the_network() {
    let guard = guard(&[], resolver::system());
    for url in [
        "http://10.0.0.1/",
        "http://db.internal/",
        "http://example.com:22/",
    ] {
        let refusal = decide(&guard, url).unwrap_err();
        assert_eq!(refusal.to_string(), "blocked by egress policy");
    }
}

#[test]
fn redirect_targets_are_read_as_strictly() {
    let base = egress::parse("https://example.com/a/b?x=1").unwrap();
    assert_eq!(
        egress::join(&base, "../c#frag").unwrap().as_str(),
        "https://example.com/c"
    );
    assert_eq!(
        egress::join(&base, "//other.example/x").unwrap().as_str(),
        "https://other.example/x"
    );
    for bad in ["http://a b/", "http:\\\\127.0.0.1/", "/x\r\ny"] {
        assert!(egress::join(&base, bad).is_err(), "{bad:?}");
    }
    let guard = guard(&[], resolver::system());
    let away = egress::join(&base, "ftp://example.com/").unwrap();
    assert!(guard.admit(&away, &[]).is_err());
}

/// A listener on loopback that counts who reaches it and answers with an empty 200.
async fn canary() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            // Closing with unread bytes would reset the connection before the answer is seen.
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    (port, hits)
}

/// A name server whose answer changes with every question.
fn rebinding(answers: &'static [&'static [&'static str]]) -> Lookup {
    let asked = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_| {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        let answer = answers[turn % answers.len()];
        Box::pin(async move { Ok(answer.iter().map(|a| a.parse().unwrap()).collect()) })
    })
}

#[tokio::test]
async fn a_name_that_changes_its_mind_reaches_nothing() {
    let (port, hits) = canary().await;
    let lookup = rebinding(&[
        &["127.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["93.184.216.34", "127.0.0.1"],
    ]);
    let guard = Guard::new(Vec::new(), vec![port], CONNECTIONS, lookup);
    let url = format!("http://rebind.example:{port}/");
    for _ in 0..30 {
        let reach = decide(&guard, &url).unwrap();
        let error = guard
            .client(&reach)
            .unwrap()
            .get(&url)
            .send()
            .await
            .unwrap_err();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert_eq!(cause.to_string(), "blocked by egress policy");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_listed_network_is_reached_by_name() {
    let (port, hits) = canary().await;
    let lookup = rebinding(&[&["127.0.0.1"]]);
    let guard = guard(&["127.0.0.0/8"], lookup);
    let url = format!("http://crm.internal:{port}/");
    let reach = decide(&guard, &url).unwrap();
    let response = guard
        .client(&reach)
        .unwrap()
        .get(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}
