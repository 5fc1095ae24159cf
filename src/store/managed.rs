//! A private Postgres that the server runs itself, so that nothing has to be set up to try it.
//!
//! Same SQL and same durability as production: a child process on a unix socket that only its
//! owner can open, no TCP port, no password. It never outlives the server: it runs under a shell
//! that reads from a pipe we hold, and stops it when the pipe breaks, even if we were killed.
//! `server` starts it where no database URL is configured; the tests run on one as well.

mod binaries;
mod cluster;
mod owner;
mod process;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::cluster::{Cluster, Durability};
use self::process::Process;
use super::Error;

/// Where a server that runs as root keeps its data when the wanted directory is out of reach for
/// the unprivileged user that Postgres runs as.
const FALLBACK_DIR: &str = "/var/lib/hookwright";

/// How long a start waits for another server that still holds the data directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a throwaway one, which no earlier server drains from.
const LOCK_TIMEOUT_THROWAWAY: Duration = Duration::from_millis(500);

/// Pauses before Postgres is started again after it ended by itself.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(15);

/// A Postgres of our own. Stop it with [`Managed::stop`]; dropped, it stops in the background.
#[derive(Debug)]
pub struct Managed {
    url: String,
    stop: DropGuard,
    supervisor: JoinHandle<()>,
}

impl Managed {
    /// Starts Postgres with its data under `dir` (created where missing; the first start takes a
    /// second or two) and waits until it answers. Waits for an earlier one that is still ending.
    /// From then on it is started again whenever it ends by itself.
    ///
    /// # Errors
    /// [`Error::Unfit`] with what to do: no Postgres installed, directory out of reach or in use
    /// by another server, Postgres does not come up.
    pub async fn start(dir: &Path) -> Result<Self, Error> {
        Self::run(dir, Durability::Full).await
    }

    /// As [`Managed::start`], but without `fsync`: what is stored survives the death of any
    /// process, but not that of the machine. For tests, whose data nobody will miss; a
    /// [`super::Store`] refuses it unless its configuration accepts the loss.
    ///
    /// # Errors
    /// As [`Managed::start`].
    pub async fn start_throwaway(dir: &Path) -> Result<Self, Error> {
        Self::run(dir, Durability::None).await
    }

    async fn run(dir: &Path, durability: Durability) -> Result<Self, Error> {
        let dir = absolute(dir)?;
        owner::check_reachable(&dir)?;
        std::fs::create_dir_all(&dir).map_err(|cause| cannot("create", &dir, &cause))?;
        let lock = lock(&dir, durability).await?;
        let cluster = Cluster::prepare(&dir, durability).await?;
        let process = cluster.start().await?;
        let url = cluster.url();
        let token = CancellationToken::new();
        let stop = token.clone().drop_guard();
        let supervisor = tokio::spawn(async move {
            supervise(&cluster, process, &token).await;
            cluster.clear_socket_dir();
            drop(lock);
        });
        Ok(Self {
            url,
            stop,
            supervisor,
        })
    }

    /// The URL to connect with. It holds no secret: the socket's directory is the protection.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends Postgres cleanly: open transactions are rolled back, data is on disk.
    pub async fn stop(self) {
        self.stop.disarm().cancel();
        if let Err(failure) = self.supervisor.await {
            tracing::error!(%failure, "the supervisor of Postgres failed");
        }
    }
}

/// Keeps Postgres running until it shall stop. Whatever was launched is held, ready or not, so
/// that a stop always waits for its end.
async fn supervise(cluster: &Cluster, mut process: Process, stop: &CancellationToken) {
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let started = Instant::now();
        tokio::select! {
            () = stop.cancelled() => break process.stop().await,
            () = process.ended() => {}
        }
        tracing::error!(log = %cluster.log().display(), "Postgres ended; starting it again");
        if started.elapsed() > RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE_MIN;
        }
        match relaunch(cluster, &mut pause, stop).await {
            Some(relaunched) => process = relaunched,
            None => break,
        }
    }
}

/// Launches Postgres, however long it takes; nothing if it shall stop before.
async fn relaunch(
    cluster: &Cluster,
    pause: &mut Duration,
    stop: &CancellationToken,
) -> Option<Process> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(RESTART_PAUSE_MAX);
        match cluster.launch().await {
            Ok(process) => return Some(process),
            Err(error) => tracing::error!(%error, "Postgres does not start"),
        }
    }
}

/// The directory to use where the user named none: `wanted`, or, for a server run as root in a
/// place that the unprivileged Postgres cannot reach (such as `/root`), `/var/lib/hookwright`.
#[must_use]
pub fn default_dir(wanted: &Path) -> PathBuf {
    match absolute(wanted).and_then(|dir| owner::check_reachable(&dir)) {
        Ok(()) => wanted.to_owned(),
        Err(_) => PathBuf::from(FALLBACK_DIR),
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    let dir = std::path::absolute(dir).map_err(|cause| cannot("find", dir, &cause))?;
    Ok(std::fs::canonicalize(&dir).unwrap_or(dir))
}

/// Only one server uses a data directory; the lock goes with the process, however it ends.
async fn lock(dir: &Path, durability: Durability) -> Result<File, Error> {
    let at_most = match durability {
        Durability::None => LOCK_TIMEOUT_THROWAWAY,
        Durability::Full => LOCK_TIMEOUT,
    };
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|cause| cannot("open", &path, &cause))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < at_most => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Unfit(format!(
                    "another server uses {}: stop it, or choose another --data-dir",
                    dir.display()
                )));
            }
            Err(TryLockError::Error(cause)) => return Err(cannot("lock", &path, &cause)),
        }
    }
}

fn cannot(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    Error::Unfit(format!(
        "cannot {verb} {}: {cause}; choose another --data-dir or set DATABASE_URL",
        path.display()
    ))
}
