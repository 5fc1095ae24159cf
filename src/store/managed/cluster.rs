//! The data directory of the managed Postgres: made once, then started on a socket of its own.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::Uid;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::process::Command;

use super::binaries::{self, Binaries};
use super::cannot;
use super::owner::{self, Owner};
use super::process::Process;
use crate::store::Error;

/// The longest directory that leaves room for the socket's name in a socket address (107 bytes).
const SOCKET_DIR_BYTES_MAX: usize = 90;

/// The log of Postgres is started afresh when it is larger, in bytes.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Settings of our Postgres. It shares the machine with the server, so memory is modest; nothing
/// that a crash of the machine could turn into lost events is relaxed.
const SETTINGS: [&str; 10] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=100",
    "shared_buffers=128MB",
    "synchronous_commit=on",
    "max_wal_size=1GB",
    "autovacuum_naptime=10s",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
    "timezone=UTC",
];

/// Whether what is stored survives the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Full,
    None,
}

/// A data directory that can be started.
pub(super) struct Cluster {
    durability: Durability,
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    owner: Option<Owner>,
    binaries: Binaries,
}

impl Cluster {
    /// Finds the binaries and makes the data directory where there is none.
    pub(super) async fn prepare(dir: &Path, durability: Durability) -> Result<Self, Error> {
        let data = dir.join("pg");
        let owner = owner::of(&data);
        let recorded = std::fs::read_to_string(data.join("PG_VERSION")).ok();
        let wanted = recorded
            .as_deref()
            .and_then(|text| text.trim().parse().ok());
        let cluster = Self {
            durability,
            binaries: binaries::find(wanted)?,
            socket: socket_dir(dir, owner)?,
            log: dir.join("postgres.log"),
            owner,
            data,
        };
        if recorded.is_none() {
            cluster.initialise(dir).await?;
        }
        Ok(cluster)
    }

    /// Starts Postgres and waits until it answers.
    pub(super) async fn start(&self) -> Result<Process, Error> {
        let mut process = self.launch().await?;
        process.ready(&self.url(), &self.log).await?;
        Ok(process)
    }

    /// Starts Postgres, which may take a while to answer; first waits for, or ends, one that a
    /// killed server left behind.
    pub(super) async fn launch(&self) -> Result<Process, Error> {
        Process::end_stale(&self.data).await?;
        let mut arguments: Vec<&OsStr> = vec!["-k".as_ref(), self.socket.as_os_str()];
        let durability = match self.durability {
            Durability::Full => ["fsync=on", "full_page_writes=on"],
            Durability::None => ["fsync=off", "full_page_writes=off"],
        };
        for setting in SETTINGS.iter().chain(&durability) {
            arguments.extend(["-c".as_ref(), OsStr::new(setting)]);
        }
        let program = self.binaries.dir.join("postgres");
        Process::spawn(
            &program,
            &self.data,
            &arguments,
            self.owner,
            self.open_log()?,
        )
    }

    pub(super) fn url(&self) -> String {
        let socket = self.socket.to_string_lossy();
        let host = utf8_percent_encode(&socket, NON_ALPHANUMERIC);
        format!("postgres://hookwright@localhost/postgres?host={host}")
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Leaves no empty directory under `/tmp`; one beside the data stays.
    pub(super) fn clear_socket_dir(&self) {
        if self.socket.parent() != self.data.parent()
            && let Err(error) = std::fs::remove_dir(&self.socket)
        {
            tracing::debug!(%error, "the socket's directory stays");
        }
    }

    /// Makes the data directory under another name and renames it, so that a start that is killed
    /// half-way leaves nothing that looks finished.
    async fn initialise(&self, dir: &Path) -> Result<(), Error> {
        let unfinished = dir.join("pg.unfinished");
        for leftover in [&unfinished, &self.data] {
            if leftover.exists() {
                std::fs::remove_dir_all(leftover)
                    .map_err(|cause| cannot("clear", leftover, &cause))?;
            }
        }
        owner::create_private(&unfinished, self.owner)?;
        let mut command = Command::new(self.binaries.dir.join("initdb"));
        command
            .arg("-D")
            .arg(&unfinished)
            .args([
                "-U",
                "hookwright",
                "--auth=trust",
                "-E",
                "UTF8",
                "--locale=C",
            ])
            .args(["--data-checksums", "--no-instructions"])
            .current_dir("/")
            .env_remove("PGDATA")
            .stdin(Stdio::null());
        if self.durability == Durability::None {
            command.arg("--no-sync");
        }
        if let Some(owner) = self.owner {
            command.gid(owner.gid).uid(owner.uid);
        }
        let output = command
            .output()
            .await
            .map_err(|cause| cannot("run initdb for", dir, &cause))?;
        if !output.status.success() {
            return Err(Error::Unfit(format!(
                "Postgres {} could not make its data directory {}: {}; run the server as an \
                 ordinary user with an entry in /etc/passwd, or set DATABASE_URL",
                self.binaries.version,
                unfinished.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        std::fs::rename(&unfinished, &self.data)
            .map_err(|cause| cannot("rename", &unfinished, &cause))
    }

    fn open_log(&self) -> Result<File, Error> {
        let large = std::fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        let mut options = OpenOptions::new();
        options
            .create(true)
            .write(true)
            .append(!large)
            .truncate(large);
        options
            .open(&self.log)
            .map_err(|cause| cannot("open", &self.log, &cause))
    }
}

/// Where the socket goes: into the data directory, or, where that path is too long for a socket
/// address, into a private directory under `/tmp`.
fn socket_dir(dir: &Path, owner: Option<Owner>) -> Result<PathBuf, Error> {
    let beside = dir.join("run");
    let chosen = if beside.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
        beside
    } else {
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        PathBuf::from(format!("/tmp/hookwright-{:016x}", hasher.finish()))
    };
    // Others may write into /tmp: what they put there first is not ours to use.
    if let Ok(entry) = std::fs::symlink_metadata(&chosen) {
        let expected = owner.map_or_else(|| Uid::effective().as_raw(), |owner| owner.uid);
        if !entry.is_dir() || entry.uid() != expected {
            return Err(Error::Unfit(format!(
                "{} belongs to someone else: remove it, or choose a shorter --data-dir",
                chosen.display()
            )));
        }
    }
    owner::create_private(&chosen, owner)?;
    Ok(chosen)
}
