//! `hookwright demo`: the main job in one command, with nothing to configure.
//!
//! A real server with a database of its own, a local server that plays the CRM, one signed order,
//! and the run's timeline. Everything lives in a temporary directory that is removed at the end.

pub mod crm;
pub mod order;
pub mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use super::client::Client;
use super::say;
use crate::config::{Layers, embedded};
use crate::server::{Options, Server, Settings};
use crate::telemetry::{self, Registry};
use crate::worker::Roles;
use crm::Crm;

/// The definitions shown are the ones of `examples/order-to-crm`.
const WORKFLOW: &str = include_str!("../../examples/order-to-crm/order-to-crm.yaml");
const SOURCE: &str = include_str!("../../examples/order-to-crm/shop.yaml");
const DESTINATION: &str = include_str!("../../examples/order-to-crm/crm.yaml");

/// The base URL in [`DESTINATION`], replaced by the local CRM's.
const CRM_URL: &str = "https://api.crm.example/v2";

/// What the sample is signed with. It guards nothing: the demo listens on loopback.
const SIGNING_SECRET: &str = "demo-signing-secret";

/// How long the order may take to reach the CRM.
const PATIENCE: Duration = Duration::from_secs(20);

/// Show the main job in one go: a signed webhook, a workflow, a call with a retry.
#[derive(Debug, Args)]
pub struct Demo {
    /// Address and port to listen on; a free port is taken where this one is not.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: std::net::SocketAddr,
    /// End after the first order: exit code 0 when it reached the CRM, else 1.
    #[arg(long)]
    once: bool,
}

/// A directory of the demo's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let name = format!("hookwright-demo-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).context("no temporary directory can be made")?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

impl Demo {
    /// Runs the demo; without `--once` it serves until Ctrl-C.
    ///
    /// # Errors
    /// Where the server cannot start, or the order does not reach the CRM.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let scratch = Scratch::new()?;
        let crm = Crm::start().await?;
        say("Starting a server with a private Postgres (a second or two) ...");
        let registry = Registry::new()?;
        let settings = self.settings(&crm)?;
        let _log = telemetry::init(&settings.telemetry, std::io::stderr(), &registry)?;
        let options = Options {
            data_dir: scratch.0.clone(),
            roles: Roles {
                receive: true,
                work: true,
            },
            definitions: None,
        };
        let started = Instant::now();
        let server = Server::start(settings, options, &registry).await?;
        let base = format!("http://{}", server.address);
        say(&format!(
            "  server     {base} (ready after {} ms)",
            started.elapsed().as_millis()
        ));
        say(&format!(
            "  CRM        {} (a local stand-in: first answers 503, then 201)",
            crm.url
        ));
        let outcome = self.show(&base, &crm).await;
        match outcome {
            Ok(()) if !self.once => {
                say("\nServing until Ctrl-C.");
                tokio::signal::ctrl_c().await?;
                server.drain(false).await;
                Ok(ExitCode::SUCCESS)
            }
            outcome => {
                server.drain(false).await;
                outcome.map(|()| ExitCode::SUCCESS)
            }
        }
    }

    fn settings(&self, crm: &Crm) -> anyhow::Result<Settings> {
        let free = std::net::TcpListener::bind(self.listen).is_ok();
        let listen = if free {
            self.listen
        } else {
            ([127, 0, 0, 1], 0).into()
        };
        let layers = Layers::new(embedded::DEFAULT)?
            .set("demo", "environment", "demo")?
            .set("demo", "http.listen", listen.to_string())?
            .set("demo", "telemetry.filter", "error")?;
        let mut settings: Settings = layers.load()?;
        // The CRM of the demo is on loopback, which calls may not reach unless allowed.
        settings
            .call
            .egress_allow
            .push(format!("{}/32:{}", crm.address.ip(), crm.address.port()));
        Ok(settings)
    }

    async fn show(&self, base: &str, crm: &Crm) -> anyhow::Result<()> {
        let client = Client::new(base, None)?;
        define(&client, crm).await?;
        let order = order::sample();
        let sent = Instant::now();
        let headers = order::headers(&order, SIGNING_SECRET)?;
        let headers: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let body = Some(order.clone().into_bytes());
        let answer = client.send("POST", "/hooks/shop", body, &headers).await?;
        let acknowledged = sent.elapsed();
        ensure!(
            answer.status == 200,
            "the webhook was answered {}",
            answer.status
        );
        let event = answer.body["id"]
            .as_str()
            .context("the answer names no event")?
            .to_owned();
        let run = finished(&client, &event).await?;
        timeline::print(&run, acknowledged);
        say("\n  What the CRM got:");
        for line in crm.received() {
            say(&format!("    {line}"));
        }
        let id = run["id"].as_str().unwrap_or_default();
        say(&format!("\n  The run          {base}/api/v1/runs/{id}"));
        say(&format!("  The event        {base}/api/v1/events/{event}"));
        say(&format!("  Metrics          {base}/metrics"));
        say("\n  Send an order of your own:\n");
        say(&order::curl(base, SIGNING_SECRET));
        match run["status"].as_str() {
            Some("completed") => Ok(()),
            status => bail!("the run is {}", status.unwrap_or("unknown")),
        }
    }
}

/// Puts secrets and definitions in through the API, as a user would.
async fn define(client: &Client, crm: &Crm) -> anyhow::Result<()> {
    let secret = |text: &str| Some(Value::from(text).to_string().into_bytes());
    let put = "PUT";
    client
        .ask(
            put,
            "/api/v1/secrets/shop-signing-secret",
            secret(SIGNING_SECRET),
        )
        .await?;
    client
        .ask(put, "/api/v1/secrets/crm-api-key", secret(crm::API_KEY))
        .await?;
    client
        .ask(put, "/api/v1/sources/shop", Some(SOURCE.into()))
        .await?;
    let destination = DESTINATION.replace(CRM_URL, &crm.url);
    client
        .ask(
            put,
            "/api/v1/destinations/crm",
            Some(destination.into_bytes()),
        )
        .await?;
    client
        .ask("POST", "/api/v1/workflows", Some(WORKFLOW.into()))
        .await?;
    Ok(())
}

/// The run that the event started, once it has ended.
async fn finished(client: &Client, event: &str) -> anyhow::Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = client
            .ask("GET", &format!("/api/v1/events/{event}"), None)
            .await?;
        if let Some(id) = told["runs"][0].as_str() {
            let run = client
                .ask("GET", &format!("/api/v1/runs/{id}"), None)
                .await?;
            if !run["endedAt"].is_null() {
                return Ok(run);
            }
        }
        ensure!(
            Instant::now() < end,
            "the order did not reach the CRM within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
