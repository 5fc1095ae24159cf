//! The built program as a process of its own, so that it can be killed, stopped and read.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::PATIENCE;
use super::wire::{Client, Request};
use crate::postgres::ENVIRONMENT;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_hookwright");

/// How a server process is started, each time the same.
#[derive(Clone, Debug)]
pub struct Plan {
    pub url: String,
    pub data_dir: PathBuf,
    pub address: SocketAddr,
    pub log: PathBuf,
    pub variables: Vec<(String, String)>,
}

impl Plan {
    /// On the database at `url`, on a free port, with its files in `data_dir`.
    pub fn new(url: &str, data_dir: &Path) -> Self {
        let address = free_address();
        let plan = Self {
            url: url.to_owned(),
            data_dir: data_dir.to_owned(),
            address,
            log: data_dir.join(format!("server-{}.log", address.port())),
            variables: Vec::new(),
        };
        plan.with("store.accept_losing_acknowledged_events", "true")
            .with("telemetry.format", "json")
    }

    /// Another value of a key of the configuration.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let key = key.to_ascii_uppercase().replace('.', "__");
        let variable = (format!("HOOKWRIGHT__{key}"), value.to_owned());
        self.variables.push(variable);
        self
    }

    /// A dead process is noticed within seconds.
    pub fn with_short_sessions(self) -> Self {
        self.with("worker.session_timeout_ms", "3000")
            .with("worker.self_fence_ms", "2000")
            .with("worker.heartbeat_period_ms", "500")
    }

    /// Another server on the same database and files.
    pub fn sibling(&self) -> Self {
        let address = free_address();
        let log = self.data_dir.join(format!("server-{}.log", address.port()));
        Self {
            address,
            log,
            ..self.clone()
        }
    }

    /// Starts it and returns without waiting.
    pub fn spawn(&self) -> Node {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.unwrap();
        let mut command = program();
        command
            .args(["serve", "--environment", ENVIRONMENT])
            .args(["--listen", &self.address.to_string()])
            .args(["--egress-allow", "127.0.0.0/8"])
            .args(["--database-url", &self.url])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        Node {
            child,
            client: Client {
                address: self.address,
            },
            log: self.log.clone(),
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> Node {
        let mut node = self.spawn();
        node.ready().await;
        node
    }
}

/// The program with nothing of this process' environment that could configure it.
pub fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HOOKWRIGHT") || text == "DATABASE_URL" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs the program to its end, off the runtime's threads.
pub async fn run(arguments: &[&str]) -> Output {
    let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let output = move || program().args(arguments).stdin(Stdio::null()).output();
    tokio::task::spawn_blocking(output).await.unwrap().unwrap()
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A running server process; killed when dropped.
pub struct Node {
    child: Child,
    pub client: Client,
    log: PathBuf,
}

impl Node {
    /// Waits until `/readyz` says so.
    pub async fn ready(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < end, "never ready:\n{}", self.log());
            if self.is_ready().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether `/readyz` says so now.
    pub async fn is_ready(&self) -> bool {
        let request = Request::new("GET", "/readyz", "");
        let answer = self.client.try_send(&request).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it as the power does.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its own end.
    pub async fn exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Memory in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
