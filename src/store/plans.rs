//! The hot statements by name, and how Postgres carries them out; for tests of their plans and
//! for finding out why a database is slow.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{
    Error, Store, append, batches, claim, conditions, exchange, fire, held, load, mail, rates,
    rejections, route, schedules, sessions, settle, sweep,
};

/// All hot statements.
pub const STATEMENTS: [(&str, &str); 37] = [
    ("append", append::APPEND),
    ("find", append::FIND),
    ("route", route::ROUTE),
    ("route_and_tell", route::ROUTE_AND_TELL),
    ("unrouted", route::UNROUTED),
    ("claim", claim::CLAIM),
    ("ready_queues", claim::READY_QUEUES),
    ("reclaim", claim::RECLAIM),
    ("load_runs", load::RUNS),
    ("load_journals", load::JOURNALS),
    ("load_mail", mail::MAIL),
    ("settle", settle::SETTLE),
    ("exchange", exchange::EXCHANGE),
    ("exchange_approvals", exchange::APPROVALS),
    ("wake", mail::WAKE),
    ("deliver", mail::DELIVER),
    ("call_parked", conditions::CALL),
    ("take_rate", rates::TAKE),
    ("post", mail::POST),
    ("fire", fire::FIRE),
    ("close", sessions::CLOSE),
    ("sweep", sweep::SWEEP),
    ("due", schedules::DUE),
    ("rest", schedules::REST),
    ("tick", schedules::TICK),
    ("due_batches", batches::DUE),
    ("take_batch", batches::TAKE),
    ("hold", held::HOLD),
    ("held_sources", held::SOURCES),
    ("release_held", held::RELEASE),
    ("keep_rejection", rejections::KEEP),
    ("expire_rejections", rejections::EXPIRE),
    ("rejections", rejections::LIST),
    ("rejections_of_source", rejections::LIST_OF_SOURCE),
    ("rejections_of_event", rejections::DUPLICATES),
    ("rejection", rejections::ONE),
    ("forget_rejection", rejections::FORGET),
];

/// Runs a hot statement as a [`super::Link`] would, rolls it back, and returns its plan with
/// timings and buffers as JSON. `arguments` is a list of SQL literals; it must be trusted text.
///
/// # Errors
/// [`Error::Unfit`] for an unknown name, otherwise as any statement.
pub async fn explain(store: &Store, name: &str, arguments: &str) -> Result<String, Error> {
    let (_, sql) = STATEMENTS
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Error::Unfit(format!("no hot statement is called {name}")))?;
    let mut connection = PgConnection::connect_with(&store.hot_options("plans")).await?;
    let call = if arguments.is_empty() {
        String::new()
    } else {
        format!("({arguments})")
    };
    for sql in [format!("prepare hot as {sql}"), "begin".to_owned()] {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
    }
    let sql = format!("explain (analyze, buffers, format json) execute hot{call}");
    let row = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut connection)
        .await?;
    let plan = row.try_get_unchecked(0)?;
    connection.close().await?;
    Ok(plan)
}
