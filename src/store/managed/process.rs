//! The running Postgres: a child under a shell that stops it when we are gone.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, ChildStdin, Command};

use super::owner::Owner;
use crate::store::Error;

/// Runs its arguments in the background and interrupts them (a "fast shutdown") when its standard
/// input ends, which happens when we close it or die in whatever way.
const SHELL: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
postgres=$!
(read -r _ <&3; kill -INT "$postgres") >/dev/null 2>&1 &
reader=$!
exec 3<&- </dev/null
wait "$postgres"
status=$?
kill "$reader" 2>/dev/null
exit "$status"
"#;

/// How long Postgres may take to answer after its start (crash recovery included).
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a clean stop may take before Postgres is told to drop everything.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a Postgres without a server may take to end by itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(20);

/// A Postgres that runs under our shell.
pub(super) struct Process {
    child: Child,
    /// Held open as long as it shall run. Apart from `child`, whose `wait` would close it.
    lifeline: Option<ChildStdin>,
    data: PathBuf,
}

impl Process {
    /// Starts it in a process group of its own, so that Ctrl-C in a terminal reaches the server
    /// first.
    pub(super) fn spawn(
        program: &Path,
        data: &Path,
        arguments: &[&OsStr],
        owner: Option<Owner>,
        log: File,
    ) -> Result<Self, Error> {
        let failed = |cause: std::io::Error| {
            Error::Unfit(format!("cannot run {}: {cause}", program.display()))
        };
        let output = log.try_clone().map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SHELL, "sh"])
            .arg(program)
            .arg("-D")
            .arg(data)
            .args(arguments)
            .current_dir("/")
            .env_remove("PGDATA")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(log)
            .process_group(0);
        if let Some(owner) = owner {
            command.gid(owner.gid).uid(owner.uid);
        }
        let mut child = command.spawn().map_err(failed)?;
        Ok(Self {
            lifeline: child.stdin.take(),
            child,
            data: data.to_owned(),
        })
    }

    /// Waits until it answers a query.
    pub(super) async fn ready(&mut self, url: &str, log: &Path) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            if let Ok(connection) = PgConnection::connect(url).await {
                connection.close().await?;
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > READY_TIMEOUT {
                return Err(Error::Unfit(format!(
                    "Postgres does not come up. The end of its log ({}):\n{}",
                    log.display(),
                    tail(log)
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) {
        if let Err(error) = self.child.wait().await {
            tracing::error!(%error, "waiting for Postgres failed");
        }
    }

    /// Ends it and waits for the end.
    pub(super) async fn stop(mut self) {
        drop(self.lifeline.take());
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            tracing::error!("Postgres did not stop in time; it is killed and will recover");
            if let Some(pid) = running(&self.data)
                && let Err(error) = kill(pid, Signal::SIGQUIT)
            {
                tracing::error!(%error, "Postgres cannot be killed");
            }
        }
    }

    /// Waits for a Postgres on this data directory that has lost its server, and ends it where it
    /// does not end by itself. The caller holds the directory's lock, so no live server uses it.
    pub(super) async fn end_stale(data: &Path) -> Result<(), Error> {
        let started = Instant::now();
        let mut sent = None;
        while let Some(pid) = running(data) {
            let signal = due_signal(started.elapsed());
            let refused = signal != sent
                && signal.is_some_and(|signal| kill(pid, signal) == Err(Errno::EPERM));
            if refused || started.elapsed() > ORPHAN_GRACE + STOP_TIMEOUT * 2 {
                return Err(Error::Unfit(format!(
                    "a Postgres (process {pid}) still uses {}: stop it and start again",
                    data.display()
                )));
            }
            if signal != sent {
                tracing::warn!(%pid, ?signal, "stopping a Postgres that lost its server");
                sent = signal;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// What a Postgres without a server is told after so long: nothing, to stop, to drop everything.
fn due_signal(waited: Duration) -> Option<Signal> {
    if waited > ORPHAN_GRACE + STOP_TIMEOUT {
        Some(Signal::SIGQUIT)
    } else if waited > ORPHAN_GRACE {
        Some(Signal::SIGINT)
    } else {
        None
    }
}

/// The process that `postmaster.pid` names, if it lives and is a Postgres on this directory: after
/// a reboot the number may belong to anything.
fn running(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let command = std::process::Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let command = std::fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .or(command)
        .ok()?;
    command
        .contains(&*data.to_string_lossy())
        .then(|| Pid::from_raw(pid))
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
