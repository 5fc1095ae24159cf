//! `hookwright apply`: a directory of definitions becomes what a running server does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::client::Remote;
use crate::api::definitions;

/// Apply a directory of definitions to a running server: validate, plan, change all or nothing.
#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    remote: Remote,
    /// The directory; read with all below it.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Also take out what the directory does not have.
    #[arg(long)]
    prune: bool,
    /// Show the plan, change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    /// Exit code 0: applied; 1: faults, nothing was changed.
    ///
    /// # Errors
    /// Where a file cannot be read, or the server cannot be reached.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let faults = super::check::faults(&self.dir)?;
        if !faults.is_empty() {
            faults
                .iter()
                .for_each(|fault| super::say(&fault.to_string()));
            super::say("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
        let files = definitions::files(&self.dir)?;
        let path = format!(
            "/api/v1/definitions?prune={}&dryRun={}",
            self.prune, self.dry_run
        );
        let body = serde_json::to_vec(&serde_json::json!({ "files": files }))?;
        let json = [("content-type", "application/json")];
        let answer = self
            .remote
            .client()?
            .send("POST", &path, Some(body), &json)
            .await?;
        if !(200..300).contains(&answer.status) {
            let detail = answer.body["detail"]
                .as_str()
                .unwrap_or("the server refused");
            super::say(&format!("{}: {detail}", answer.status));
            for error in answer.body["errors"].as_array().into_iter().flatten() {
                super::say(&error.to_string());
            }
            super::say("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
        for line in answer.body["lines"].as_array().into_iter().flatten() {
            let word = |member: &str| line[member].as_str().unwrap_or_default().to_owned();
            super::say(&format!("{:<9} {}", word("action"), word("subject")));
        }
        super::say(if self.dry_run {
            "nothing was changed (dry run)"
        } else {
            "applied"
        });
        Ok(ExitCode::SUCCESS)
    }
}
