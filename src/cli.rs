//! The commands of the `hookwright` program.

pub mod apply;
pub mod approvals;
pub mod check;
pub mod client;
pub mod demo;
pub mod events;
pub mod keys;
pub mod output;
pub mod run;
pub mod runs;
pub mod samples;
pub mod serve;
pub mod sources;
pub mod test;
mod timeline;
pub mod vectors;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Layers, embedded};
use crate::server::Settings;

/// Self-hosted webhook automation: verifies, stores and runs what your SaaS products send.
#[derive(Debug, Parser)]
#[command(name = "hookwright", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Show the main job in one go: a signed webhook, a workflow, a call with a retry.
    Demo(demo::Demo),
    /// Apply a directory of definitions to a running server: validate, plan, change all or nothing.
    Apply(apply::Apply),
    /// Check definitions and tests of workflows without running anything; for CI.
    Check(check::Check),
    /// List, show, cancel, suspend and resume runs.
    Runs(runs::Runs),
    /// Run a run again, from the start or from a task that failed.
    Replay(runs::Replay),
    /// List, show, explain and replay events; send signed samples to sources.
    Events(events::Events),
    /// Show how to register a source; check the catalogue of senders against test vectors.
    Sources(sources::SourcesCommand),
    /// Test workflows with scripted answers and a clock of their own; for CI.
    Test(test::Test),
    /// Run a workflow once in memory, against the real destinations, and show its timeline.
    Run(run::Run),
    /// List what people are asked; approve or reject it.
    Approvals(approvals::Approvals),
    /// Make, list and revoke API keys.
    Keys(keys::Keys),
    /// Bring the database to this version's schema, then end.
    Migrate(Common),
    /// Ask a running server whether it is ready; exit code 0 or 1. For container health checks.
    Healthcheck(client::Remote),
}

/// Where settings come from; every key is in `config/default.toml`.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Name of the environment; its own `config/<name>.toml` and its own database.
    #[arg(long, env = "HOOKWRIGHT_ENVIRONMENT", default_value = "development")]
    pub environment: String,
    /// A TOML file over the built-in settings of the environment.
    #[arg(long, env = "HOOKWRIGHT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database; without one the server runs a private Postgres in the data directory.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where the private Postgres and the sealing key live.
    #[arg(long, env = "HOOKWRIGHT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Common {
    /// The settings: built-in ones, the environment's, the file's, variables, flags.
    ///
    /// # Errors
    /// Names the layer and the key that is wrong.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(self.layers()?.load()?)
    }

    /// The layers below the flags of a command.
    ///
    /// # Errors
    /// As [`Common::settings`].
    pub fn layers(&self) -> anyhow::Result<Layers> {
        let mut layers = Layers::new(embedded::DEFAULT)?;
        if let Some(text) = embedded::environment(&self.environment) {
            layers = layers.text(&format!("config/{}.toml", self.environment), text)?;
        }
        if let Some(file) = &self.config {
            layers = layers.file(file)?;
        }
        layers = layers.variables(std::env::vars_os())?;
        layers = layers.set("--environment", "environment", self.environment.as_str())?;
        if let Some(url) = &self.database_url {
            layers = layers.set("--database-url", "store.url", url.as_str())?;
        }
        Ok(layers)
    }

    /// The data directory: the one named, else `./data`, else where a root server can have one.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir
            .clone()
            .unwrap_or_else(|| crate::store::managed::default_dir(std::path::Path::new("data")))
    }
}

/// Runs the program; what went wrong goes to standard error, with its causes.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "hookwright: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Demo(demo) => demo.run().await,
        Command::Apply(apply) => apply.run().await,
        Command::Runs(runs) => runs.run().await,
        Command::Replay(replay) => replay.run().await,
        Command::Events(events) => events.run().await,
        Command::Sources(sources) => sources.run().await,
        Command::Check(check) => check.run().await,
        Command::Test(test) => test.run().await,
        Command::Run(run) => run.run().await,
        Command::Approvals(approvals) => approvals.run().await,
        Command::Keys(keys) => keys.run().await,
        Command::Migrate(common) => serve::migrate(&common).await,
        Command::Healthcheck(remote) => remote.healthcheck().await,
    }
}

/// Says why a command cannot begin; exit code 2, as for wrong flags.
pub(crate) fn usage(error: &anyhow::Error) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "hookwright: {error:#}");
    ExitCode::from(2)
}

/// Writes a line for the user; a closed output is the user's choice.
pub(crate) fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}
