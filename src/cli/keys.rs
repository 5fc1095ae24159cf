//! `hookwright keys`: API keys of a running server.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::Remote;
use crate::api::access::{self, Role};

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
    /// Make an admin's key without a server, for `api.admin_key`
    /// (`HOOKWRIGHT__API__ADMIN_KEY`) of a server that starts with it.
    Generate {
        /// The environment it is for.
        #[arg(long, default_value = "development")]
        environment: String,
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
            Command::Generate { environment } => {
                let made = access::make(environment, "generated", Role::Admin, None);
                let (key, _) = made.map_err(|_| anyhow::anyhow!("no randomness"))?;
                super::say(&key);
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
