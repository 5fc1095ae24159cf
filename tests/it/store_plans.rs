//! Plans of the hot statements: key probes only, whatever the planner knows about the tables.
//!
//! A queue that is planned as empty and then fills up must not be read as a whole for each batch;
//! so each statement is explained on empty tables, on full ones, and on full and analysed ones.

use std::fmt::Write;

use hookwright::id::Id;
use hookwright::store::plans;
use serde_json::Value;

use crate::postgres::{Database, database};

/// How many rows a batch has here.
const BATCH: usize = 64;

/// Tables that grow with traffic: never read as a whole.
const LARGE: [&str; 14] = [
    "events",
    "dedupe",
    "runs",
    "journal",
    "checkpoints",
    "ready",
    "timers",
    "inbox",
    "held",
    "rejections",
    "mail",
    "listeners",
    "approvals",
    "approval_links",
];

/// Statements that read an index in its order up to a limit, and so need no condition on it.
const ORDERED: [&str; 5] = [
    "unrouted",
    "ready_queues",
    "sweep",
    "held_sources",
    "call_parked",
];

/// Twenty thousand of everything, with ids of today.
const FILL: &str = "
create temp table filled as
  select n, (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - n), 12, '0')
             || '7' || substr(md5(n::text), 1, 19))::uuid as id
  from generate_series(1, 20000) n;
insert into events (id, source, event_id, type, body) select id, 's', n, 't', '{}' from filled;
insert into dedupe select decode(md5(n::text), 'hex'), current_date - n % 7, id from filled;
insert into inbox select id from filled;
insert into held select 's', id from filled;
insert into rejections (id, source, cause, method, version, kek_id, wrapped_key, head, body)
  select id, 's', 'c', 'POST', 1, 'k', '', '', '' from filled;
insert into runs select id, 1, id from filled;
insert into journal (run_id, seq, entries) select id, 0, '[]' from filled;
insert into checkpoints select id, 0, '{}' from filled;
insert into ready select n % 10, now() - interval '1 minute', id from filled;
insert into timers select now() - interval '1 minute' + n * interval '10 ms', id from filled;
insert into mail (run_id, id, kind) select id, id, 0 from filled;
insert into listeners (run_id, key) select id, md5((n % 1000)::text)::uuid from filled;
insert into approvals select id, id, 1, '/do/0/a', '', case when n <= 200 then 'pending' else
  'approved' end, '{}', '[]', now(), now() + interval '1 day', null from filled;
insert into approval_links select decode(md5(n::text), 'hex'), id, 0 from filled;
insert into claims (run_id, claim_id, session_id) select id, n, 1 from filled where n <= 100";

#[tokio::test]
async fn hot_statements_probe_keys_and_read_nothing_else() {
    let database = database().await;
    sqlx::query("insert into sessions (node) values ('a')")
        .execute(database.store.pool())
        .await
        .unwrap();
    sqlx::query("insert into ledger (session_id, lane) values (1, 0)")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_plans(&database, "empty").await;
    sqlx::raw_sql(FILL)
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_plans(&database, "filled").await;
    sqlx::raw_sql("analyze")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_plans(&database, "analysed").await;
}

async fn assert_plans(database: &Database, state: &str) {
    let ids: Vec<String> = if state == "empty" {
        (0..BATCH).map(|_| Id::generate().to_string()).collect()
    } else {
        sqlx::query_scalar("select id::text from events order by id desc limit 64")
            .fetch_all(database.store.pool())
            .await
            .unwrap()
    };
    for (name, _) in plans::STATEMENTS {
        let (arguments, buffers_max) = call(name, &ids);
        let text = plans::explain(&database.store, name, &arguments)
            .await
            .unwrap();
        let plan: Value = serde_json::from_str(&text).unwrap();
        let mut faults = String::new();
        check(name, &plan[0]["Plan"], &mut faults);
        let root = &plan[0]["Plan"];
        let buffers = root["Shared Hit Blocks"].as_u64().unwrap()
            + root["Shared Read Blocks"].as_u64().unwrap();
        if buffers > buffers_max {
            writeln!(faults, "touches {buffers} buffers, at most {buffers_max}").unwrap();
        }
        assert!(
            faults.is_empty(),
            "{name} on {state} tables:\n{faults}\n{text}"
        );
    }
}

fn check(name: &str, node: &Value, faults: &mut String) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let relation = node["Relation Name"].as_str().unwrap_or_default();
    let large =
        LARGE.iter().any(|table| relation.starts_with(table)) && name != "expire_rejections";
    let scans_all = match kind {
        "Seq Scan" => true,
        "Index Scan" | "Index Only Scan" => {
            node.get("Index Cond").is_none() && !ORDERED.contains(&name)
        }
        _ => false,
    };
    if large && scans_all {
        writeln!(faults, "{kind} over all of {relation}").unwrap();
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        check(name, child, faults);
    }
}

/// Arguments for a batch, and how many buffers the statement may touch.
fn call(name: &str, ids: &[String]) -> (String, u64) {
    let new: Vec<String> = ids.iter().map(|_| Id::generate().to_string()).collect();
    let each = |value: &str, kind: &str| format!("array_fill({value}, array[{BATCH}])::{kind}[]");
    let list = |ids: &[String]| format!("'{{{}}}'", ids.join(","));
    let keys: Vec<String> = new
        .iter()
        .map(|id| format!("\\\\x{}", &id.replace('-', "")[..32]))
        .collect();
    let text = each("'x'::text", "text");
    let bytes = each("'\\x00'::bytea", "bytea");
    match name {
        "settle" | "exchange" | "exchange_approvals" => settling(name, ids, &new, &keys),
        "append" => (
            format!(
                "'{{{}}}', {}, {}, {text}, {text}, {text}, {text}, {bytes}, {bytes}, {bytes}, {},
                 {}, 1, 0, 64",
                keys.join(","),
                list(&new),
                each("7", "smallint"),
                each("null::integer", "integer"),
                each("null::uuid", "uuid"),
            ),
            6_000,
        ),
        "find" => (format!("'{{{}}}'", keys.join(",")), 3_000),
        "route" | "route_and_tell" => routing(name, ids, &new),
        "unrouted" => ("0, 64".to_owned(), 600),
        "claim" => ("'{0,1,2}', '{20,20,24}', 1, 1000".to_owned(), 1_500),
        "ready_queues" => (String::new(), 100),
        "reclaim" => ("1, 0, '{1,2,3}'".to_owned(), 4_000),
        "load_runs" => (list(ids), 1_500),
        "load_journals" => (format!("{}, {}", list(ids), each("0", "integer")), 1_500),
        "load_mail" => (format!("{}, 1000", list(ids)), 2_000),
        "wake" => (list(ids), 2_500),
        "deliver" => (format!("'{}', 1000", Id::from(uuid::Uuid::nil())), 60_000),
        // It looks at so many letters, each run's one probe.
        "take_rate" => ("1, '{10,100}', '{10,1}', 5, 0".to_owned(), 100),
        "call_parked" => ("500".to_owned(), 60_000),
        "post" => (format!("'{}', '{}', 1, '\\x00'", ids[0], new[0]), 100),
        "fire" => ("64".to_owned(), 1_000),
        "close" => ("1".to_owned(), 4_000),
        "due_batches" => ("64".to_owned(), 200),
        "take_batch" => (
            format!(
                "1, 0, {}, 64, 64, 100, 1000, '{}', 's', 't', '[]', 1, '{}', 1, 0",
                list(ids),
                new[0],
                new[1]
            ),
            500,
        ),
        "due" => ("256".to_owned(), 200),
        "hold" => (
            format!("{}, {}", list(ids), each("'s'::text", "text")),
            2_500,
        ),
        "held_sources" => (String::new(), 100),
        "release_held" => ("'s', 256".to_owned(), 3_000),
        name if name.contains("reject") => rejecting(name, &ids[0]),
        "rest" => (String::new(), 200),
        "tick" => ("'[]', '[]', 'due', 1, 0, ''".to_owned(), 200),
        "sweep" => ("30000, 5, '{}', 1, 0".to_owned(), 3_000),
        other => panic!("no arguments for {other}: add them"),
    }
}

/// What is kept of deliveries is bounded, and forgotten by looking at all of it once a minute.
fn rejecting(name: &str, id: &str) -> (String, u64) {
    let last = Id::from(uuid::Uuid::max());
    match name {
        "keep_rejection" => {
            let row = "now(), 's', 'c', 'POST', 'k', '\\x00', '\\x00', '\\x00'";
            (format!("'{}', {row}, '{id}'", Id::generate()), 100)
        }
        "expire_rejections" => ("7, 10000, 67108864".to_owned(), 25_000),
        "rejections" => (format!("0, '{last}', 100"), 200),
        "rejections_of_source" => (format!("0, '{last}', 100, 's'"), 200),
        "rejections_of_event" => (format!("'{id}', 100"), 20),
        "rejection" => (format!("'{id}', 0"), 20),
        "forget_rejection" => (format!("'{id}'"), 20),
        other => panic!("no arguments for {other}: add them"),
    }
}

/// Claims that count from one.
fn numbers() -> String {
    let numbers: Vec<String> = (1..=BATCH).map(|n| n.to_string()).collect();
    format!("'{{{}}}'", numbers.join(","))
}

fn routing(name: &str, ids: &[String], new: &[String]) -> (String, u64) {
    let each = |value: &str, kind: &str| format!("array_fill({value}, array[{BATCH}])::{kind}[]");
    let list = |ids: &[String]| format!("'{{{}}}'", ids.join(","));
    let arguments = format!(
        "{}, {}, {}, {}, {}, 1, '{{}}', '{{}}', 1, 0, 0",
        list(ids),
        list(new),
        list(ids),
        each("1", "integer"),
        numbers(),
    );
    if name == "route" {
        return (arguments, 2_500);
    }
    let more = [
        list(ids),
        each("md5('7')::uuid", "uuid"),
        list(&ids[..8]),
        list(&ids[..8]),
        list(ids),
        each("1", "integer"),
        each("md5('8')::uuid", "uuid"),
        each("1", "bigint"),
    ];
    // Each of twenty listeners gets each of 64 events here.
    (format!("{arguments}, {}", more.join(", ")), 25_000)
}

fn settling(name: &str, ids: &[String], new: &[String], keys: &[String]) -> (String, u64) {
    let each = |value: &str, kind: &str| format!("array_fill({value}, array[{BATCH}])::{kind}[]");
    let bytes = each("'\\x00'::bytea", "bytea");
    let arguments = format!(
        "'{{{}}}', {}, {}, {}, {}, {}, {}, {}, {}, {bytes}, {bytes}, {bytes}, 1, 0",
        ids.join(","),
        numbers(),
        each("3", "smallint"),
        each("null::bigint", "bigint"),
        each("null::integer", "integer"),
        each("1", "integer"),
        each("'faulted'::text", "text"),
        each("true", "boolean"),
        each("1", "integer"),
    );
    match name {
        "settle" => (arguments, 3_000),
        "exchange_approvals" => {
            let more = exchanged(ids, new, keys);
            (
                format!("{arguments}{more}, {}", asking(ids, new, keys)),
                24_000,
            )
        }
        _ => (format!("{arguments}{}", exchanged(ids, new, keys)), 16_000),
    }
}

/// The arguments that an exchange has more where approvals have changed: each run asks.
fn asking(ids: &[String], new: &[String], keys: &[String]) -> String {
    let each = |value: &str, kind: &str| format!("array_fill({value}, array[{BATCH}])::{kind}[]");
    let list = |ids: &[String]| format!("'{{{}}}'", ids.join(","));
    let (text, bytes) = (each("'x'::text", "text"), each("'\\x00'::bytea", "bytea"));
    let time = each("1::bigint", "bigint");
    [
        list(new),
        list(ids),
        each("1", "integer"),
        text.clone(),
        text,
        each("'pending'::text", "text"),
        bytes.clone(),
        bytes,
        time.clone(),
        time,
        each("null::bigint", "bigint"),
        format!("'{{{}}}'", keys.join(",")),
        list(new),
        each("0", "smallint"),
    ]
    .join(", ")
}

/// The arguments that an exchange has more than a settlement: each run publishes an event, sends a
/// letter, has taken one in, and listens.
fn exchanged(ids: &[String], new: &[String], keys: &[String]) -> String {
    let each = |value: &str, kind: &str| format!("array_fill({value}, array[{BATCH}])::{kind}[]");
    let list = |ids: &[String]| format!("'{{{}}}'", ids.join(","));
    let (ids, new, text) = (list(ids), list(new), each("'x'::text", "text"));
    let bytes = each("'\\x00'::bytea", "bytea");
    let paused = ids.clone();
    let columns = [
        format!("'{{{}}}'", keys.join(",")),
        new.clone(),
        each("7", "smallint"),
        ids.clone(),
        text.clone(),
        text.clone(),
        text.clone(),
        text,
        bytes.clone(),
        bytes.clone(),
        each("null::integer", "integer"),
        each("null::uuid", "uuid"),
        ids.clone(),
        ids.clone(),
        new.clone(),
        each("1", "smallint"),
        bytes,
        ids.clone(),
        ids.clone(),
        ids.clone(),
        ids,
        new,
        "'{1}', '{/do/0/a}', '{0}'".to_owned(),
        paused,
        each("true", "boolean"),
    ];
    columns
        .into_iter()
        .map(|column| format!(", {column}"))
        .collect()
}
