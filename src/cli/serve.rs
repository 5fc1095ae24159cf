//! `hookwright serve` and `hookwright migrate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Common;
use crate::server::{Options, Server, Settings};
use crate::store::Store;
use crate::store::managed::Managed;
use crate::telemetry::{self, Registry};
use crate::worker::Roles;

/// Run the server.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    common: Common,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Apply the definitions of this directory at start, and again whenever they change.
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// What this node does.
    #[arg(long, value_delimiter = ',', default_values = ["receive", "work"])]
    roles: Vec<Role>,
    /// Networks calls may go to although they are private, such as 10.1.0.0/16; may be repeated.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    egress_allow: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Take deliveries.
    Receive,
    /// Route events and execute runs.
    Work,
    /// Start what is due; part of `work` in this version.
    Schedule,
}

impl Serve {
    /// Serves until SIGTERM or Ctrl-C; a second signal ends the process at once.
    ///
    /// # Errors
    /// Where the server cannot start.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = self.settings()?;
        let registry = Registry::new()?;
        let _log = telemetry::init(&settings.telemetry, std::io::stdout(), &registry)?;
        let options = Options {
            data_dir: self.common.data_dir(),
            roles: Roles {
                receive: self.roles.contains(&Role::Receive),
                work: self.roles.iter().any(|role| *role != Role::Receive),
            },
            definitions: self.definitions,
        };
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = tokio::select! {
            started = Server::start(settings, options, &registry) => started?,
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        let grace = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => false,
        };
        tokio::select! {
            () = server.drain(grace) => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::FAILURE),
            _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut layers = self.common.layers()?;
        if let Some(listen) = self.listen {
            layers = layers.set("--listen", "http.listen", listen.to_string())?;
        }
        let mut settings: Settings = layers.load()?;
        settings
            .call
            .egress_allow
            .extend(self.egress_allow.iter().cloned());
        Ok(settings)
    }
}

/// Brings the database to this version's schema.
///
/// # Errors
/// Where the database cannot be reached or is not fit.
pub async fn migrate(common: &Common) -> anyhow::Result<ExitCode> {
    let settings = common.settings()?;
    let (managed, url) = match settings.store.given_url() {
        Some(url) => (None, url.to_owned()),
        None => {
            let managed = Managed::start(&common.data_dir()).await?;
            let url = managed.url().to_owned();
            (Some(managed), url)
        }
    };
    let store = Store::connect(&url, &settings.store).await?;
    store.prepare(&settings.environment).await?;
    if let Some(managed) = managed {
        managed.stop().await;
    }
    super::say("the database has this version's schema");
    Ok(ExitCode::SUCCESS)
}
