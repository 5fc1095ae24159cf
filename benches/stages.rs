//! What the three transactions of the standard job cost Postgres, by the size of their batches.
//!
//! `cargo bench --bench stages`, on a quiet machine. It starts a Postgres in a temporary directory
//! and lets it append, route and settle, one batch after the other; the figures are the CPU time of
//! the backends (statement, commit and protocol) per event.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hookwright::event::{DedupeKey, Event};
use hookwright::id::Id;
use hookwright::store::managed::Managed;
use hookwright::store::{Config, Link, NewEvent, NewRun, Next, Routing, Settlement, Store};

/// Sizes of batches.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// Batches of each size, and those before them that are not counted.
const ROUNDS: usize = 300;
const WARM_UP: usize = 20;

/// Bytes of a body, as an order of a shop has.
const BODY_BYTES: usize = 1_200;

/// A statement and the backend it runs in.
struct Stage {
    name: &'static str,
    link: Link,
    backend: i32,
}

impl Stage {
    async fn open(store: &Store, name: &'static str, session: i64, lane: i16) -> Result<Self> {
        let mut link = store.link(name);
        link.open_lane(session, lane).await?;
        let backend = sqlx::query_scalar(
            "select pid from pg_stat_activity where application_name like '%' || $1",
        )
        .bind(name)
        .fetch_one(store.pool())
        .await?;
        Ok(Self {
            name,
            link,
            backend,
        })
    }

    /// What the backend has used so far.
    fn used(&self) -> Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.backend))?;
        let nanoseconds = text.split_whitespace().next().context("no schedstat")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}

fn event(number: usize, headers: &[(String, String)]) -> NewEvent {
    let name = number.to_string();
    let mut body = format!("{{\"id\":{number},\"note\":\"").into_bytes();
    body.resize(BODY_BYTES - 2, b'x');
    body.extend_from_slice(b"\"}");
    NewEvent {
        key: DedupeKey::new("shop", &name),
        event: Event {
            id: Id::generate(),
            event_id: name,
            source: "/hooks/shop".to_owned(),
            kind: "shopify.orders/create".to_owned(),
            attributes: [].into(),
            content_type: Some("application/json".to_owned()),
            headers: headers.to_vec(),
            body: Bytes::from(body),
        },
        window_days: 7,
        target: None,
    }
}

/// Takes one batch through all stages.
async fn journey(stages: &mut [Stage; 3], session: i64, events: &[NewEvent]) -> Result<()> {
    let [append, route, settle] = stages;
    let stored = append.link.append(events).await?;
    ensure!(stored.iter().all(Option::is_none), "events were not new");

    let mut routing = Routing {
        session,
        ..Routing::default()
    };
    for new in events {
        routing.events.push(new.event.id);
        routing.runs.push(NewRun {
            id: Id::generate(),
            event_id: new.event.id,
            workflow_id: 1,
            claim_id: Some(i64::try_from(routing.runs.len())?),
        });
    }
    let routed = route.link.route(&routing).await?;
    ensure!(routed.elsewhere.is_empty(), "events were not routed");

    let entries = Bytes::from(vec![b'e'; 260]);
    let settled = |run: &NewRun| Settlement {
        run_id: run.id,
        workflow_id: 1,
        claim_id: run.claim_id.unwrap_or_default(),
        seq: 0,
        entries: Some(entries.clone()),
        next: Next::Ended {
            status: "completed",
            output: Some(Bytes::from_static(br#"{"crmId":"crm-12345"}"#)),
            error: None,
        },
        exchange: None,
    };
    let settlements: Vec<_> = routing.runs.iter().map(settled).collect();
    let lost = settle.link.settle(&settlements).await?;
    ensure!(lost.is_empty(), "runs were not settled");
    Ok(())
}

async fn measure(store: &Store) -> Result<()> {
    let session = store.link("node").open_session("bench").await?;
    let mut stages = [
        Stage::open(store, "append", session, 0).await?,
        Stage::open(store, "route", session, 1).await?,
        Stage::open(store, "settle", session, 2).await?,
    ];
    let headers: Vec<(String, String)> = (0..10)
        .map(|n| (format!("x-header-{n}"), format!("value {n} of a header")))
        .collect();
    let mut number = 0;
    for size in SIZES {
        let mut before = Vec::new();
        for round in 0..WARM_UP + ROUNDS {
            if round == WARM_UP {
                before = stages.iter().map(Stage::used).collect::<Result<_>>()?;
            }
            let events: Vec<_> = (number..number + size)
                .map(|n| event(n, &headers))
                .collect();
            journey(&mut stages, session, &events).await?;
            number += size;
        }
        report(size, &stages, &before)?;
    }
    Ok(())
}

fn report(size: usize, stages: &[Stage], before: &[Duration]) -> Result<()> {
    let mut line = format!("batches of {size:3}:");
    let mut sum = 0.0;
    for (stage, before) in stages.iter().zip(before) {
        let used = stage.used()?.saturating_sub(*before);
        let each = used.as_secs_f64() * 1e6 / (ROUNDS * size) as f64;
        sum += each;
        line.push_str(&format!(" {} {each:.1} us,", stage.name));
    }
    writeln!(
        std::io::stdout(),
        "{line} together {sum:.1} us of CPU per event"
    )?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let place = std::env::temp_dir().join(format!("hookwright-bench-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let postgres = Managed::start(&place).await?;
    let mut sections: toml::Table = toml::from_str(include_str!("../config/default.toml"))?;
    let config: Config = sections.remove("store").context("no [store]")?.try_into()?;
    let store = Store::connect(postgres.url(), &config).await?;
    store.prepare("bench").await?;
    let outcome = measure(&store).await;
    postgres.stop().await;
    std::fs::remove_dir_all(&place)?;
    outcome
}
