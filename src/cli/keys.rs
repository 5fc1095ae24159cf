//! `hookwright keys`: API keys of a running server.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::Remote;

/// Make, list and revoke API keys.
#[derive(Debug, Args)]
pub struct Keys {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key; it is shown once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do: viewer, operator, editor, deployer or admin.
        #[arg(long, default_value = "admin")]
        role: String,
    },
    /// List the keys.
    List,
    /// Take a key out of use.
    Revoke {
        /// Its id.
        id: String,
    },
}

impl Keys {
    /// Carries out the command.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        match &self.command {
            Command::Create { name, role } => {
                let body = serde_json::json!({ "name": name, "role": role });
                let key = client
                    .ask("POST", "/api/v1/keys", Some(body.to_string().into()))
                    .await?;
                super::say(key["key"].as_str().unwrap_or_default());
            }
            Command::List => {
                let keys = client.ask("GET", "/api/v1/keys", None).await?;
                super::say(&serde_json::to_string_pretty(&keys)?);
            }
            Command::Revoke { id } => {
                client
                    .ask("DELETE", &format!("/api/v1/keys/{id}"), None)
                    .await?;
                super::say(&format!("{id} is revoked"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
