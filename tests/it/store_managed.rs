//! The managed Postgres: it survives what kills it, and never survives us.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hookwright::store::Error;
use hookwright::store::managed::{Managed, default_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use sqlx::{Connection, PgConnection};

use crate::postgres;

/// Names the directory to the process that [`hold`] runs in.
const HOLD: &str = "HOOKWRIGHT_TEST_HOLD";

/// A directory that is removed at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("hookwright-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// The process id of its Postgres.
    fn postmaster(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.0.join("pg/postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for a condition; the processes under test have no signal to wait for.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn lives(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn insert(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("create table if not exists kept (n integer); insert into kept values (1)")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn count(url: &str) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar("select count(*) from kept")
        .fetch_one(&mut connection)
        .await
}

/// Not a test: the server process that others kill.
#[tokio::test]
#[ignore = "run by other tests as a process of its own"]
async fn hold() {
    let Some(dir) = std::env::var_os(HOLD).map(PathBuf::from) else {
        return;
    };
    let text = match Managed::start_throwaway(&dir).await {
        Ok(managed) => {
            std::fs::write(dir.join("outcome.new"), managed.url()).unwrap();
            std::fs::rename(dir.join("outcome.new"), dir.join("outcome")).unwrap();
            return std::future::pending().await;
        }
        Err(error) => error.to_string(),
    };
    std::fs::write(dir.join("outcome"), text).unwrap();
}

/// Runs [`hold`] in a process of its own and waits until it has started or failed.
async fn holder(dir: &Path, environment: &[(&str, &str)]) -> (Child, String) {
    let _ = std::fs::remove_file(dir.join("outcome"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store_managed::hold"])
        .env(HOLD, dir)
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut outcome = String::new();
    until("the holder has started", async || {
        outcome = std::fs::read_to_string(dir.join("outcome")).unwrap_or_default();
        !outcome.is_empty()
    })
    .await;
    (child, outcome)
}

#[tokio::test]
async fn a_test_database_is_migrated_and_partitioned() {
    let database = postgres::database().await;
    let partitions: i64 =
        sqlx::query_scalar("select count(*) from pg_inherits where inhparent = 'events'::regclass")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    assert_eq!(partitions, 5, "today, three days more and the default");
}

#[tokio::test]
async fn killed_postgres_comes_back_with_everything_and_stops_when_told() {
    let dir = Dir::new("restart");
    let managed = Managed::start(&dir.0).await.unwrap();
    let url = managed.url().to_owned();
    let fsync: String = {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query_scalar("show fsync")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    assert_eq!(fsync, "on");
    insert(&url).await;
    let first = dir.postmaster().unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    until("it answers again", async || {
        count(&url).await.is_ok_and(|count| count == 1)
    })
    .await;
    let second = dir.postmaster().unwrap();
    assert_ne!(first, second);
    managed.stop().await;
    assert!(!lives(second), "stopped");

    let managed = Managed::start(&dir.0).await.unwrap();
    assert_eq!(count(managed.url()).await.unwrap(), 1);
    managed.stop().await;
}

#[tokio::test]
async fn postgres_ends_with_a_server_that_is_killed() {
    let dir = Dir::new("killed");
    let (mut server, url) = holder(&dir.0, &[]).await;
    insert(&url).await;
    let postmaster = dir.postmaster().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    // The next start does not wait for us to see the end: it waits itself.
    let managed = Managed::start_throwaway(&dir.0).await.unwrap();
    assert!(!lives(postmaster));
    assert_eq!(count(managed.url()).await.unwrap(), 1);
    managed.stop().await;
}

#[tokio::test]
async fn an_orphaned_postgres_is_stopped_by_the_next_start() {
    let dir = Dir::new("orphan");
    let (mut server, url) = holder(&dir.0, &[]).await;
    insert(&url).await;
    let postmaster = dir.postmaster().unwrap();
    // Everything that would stop it dies at once: the shell, its reader, and the server.
    let stat = std::fs::read_to_string(format!("/proc/{postmaster}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let shell = Pid::from_raw(fields[1].parse().unwrap());
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    kill(shell, Signal::SIGKILL).unwrap();
    for child in children
        .split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()))
    {
        if child != postmaster {
            kill(child, Signal::SIGKILL).unwrap();
        }
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(lives(postmaster));
    let managed = Managed::start_throwaway(&dir.0).await.unwrap();
    assert!(!lives(postmaster));
    assert_eq!(count(managed.url()).await.unwrap(), 1);
    managed.stop().await;
}

#[tokio::test]
async fn a_directory_that_another_server_uses_is_refused() {
    let dir = Dir::new("locked");
    let lock = File::create(dir.0.join("lock")).unwrap();
    lock.lock().unwrap();
    let Err(Error::Unfit(text)) = Managed::start_throwaway(&dir.0).await else {
        panic!("started")
    };
    assert!(text.contains("another server uses"), "{text}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_still_works() {
    let dir = Dir::new(&"long".repeat(30));
    let managed = Managed::start_throwaway(&dir.0).await.unwrap();
    insert(managed.url()).await;
    managed.stop().await;
}

#[tokio::test]
async fn without_binaries_it_says_what_to_do() {
    let dir = Dir::new("missing");
    let (mut server, text) = holder(&dir.0, &[("PG_BIN_DIR", "/nowhere")]).await;
    server.wait().unwrap();
    for remedy in [
        "apt-get install -y postgresql",
        "brew install postgresql",
        "DATABASE_URL",
    ] {
        assert!(text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn as_root_a_directory_out_of_reach_is_explained() {
    if !Uid::effective().is_root() {
        return;
    }
    let closed = Dir::new("closed");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&closed.0, mode).unwrap();
    let dir = closed.0.join("data");
    let Err(Error::Unfit(text)) = Managed::start(&dir).await else {
        panic!("started")
    };
    assert!(text.contains(&*closed.0.to_string_lossy()), "{text}");
    assert!(text.contains("--data-dir /var/lib/hookwright"), "{text}");
    assert_eq!(default_dir(&dir), Path::new("/var/lib/hookwright"));
    assert_eq!(default_dir(Path::new("/tmp/x")), Path::new("/tmp/x"));
}
