//! `hookwright approvals`: what people are asked, and deciding it, over the API of a server.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Remote};

/// List approvals, show one, approve or reject it.
#[derive(Debug, Args)]
pub struct Approvals {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List approvals, newest first: id, status, workflow, title.
    List {
        /// Only of this status.
        #[arg(long, value_enum, default_value = "pending")]
        status: Status,
        /// Only of this run.
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// Most entries, 1 to 1000.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Show an approval as JSON: what is asked, how it stands, who has decided.
    Show {
        /// Its id.
        id: String,
    },
    /// Approve.
    Approve(Decision),
    /// Reject.
    Reject(Decision),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Pending,
    Approved,
    Rejected,
    Expired,
    Cancelled,
    All,
}

#[derive(Debug, Args)]
struct Decision {
    /// The approval's id.
    id: String,
    /// Who decides, one of those that are asked; the name of the API key where absent.
    #[arg(long)]
    by: Option<String>,
    /// Why.
    #[arg(long)]
    comment: Option<String>,
    /// The form, filled in, as JSON.
    #[arg(long, value_name = "JSON")]
    form: Option<String>,
}

impl Approvals {
    /// Carries out the command.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        match &self.command {
            Command::List { status, run, limit } => {
                let mut path = format!("/api/v1/approvals?limit={limit}");
                let word = status.to_possible_value();
                if let Some(word) = word.filter(|word| word.get_name() != "all") {
                    path.push_str(&format!("&status={}", word.get_name()));
                }
                if let Some(run) = run {
                    let run: String = form_urlencoded::byte_serialize(run.as_bytes()).collect();
                    path.push_str(&format!("&run={run}"));
                }
                let approvals = client.ask("GET", &path, None).await?;
                let approvals = approvals.as_array().into_iter().flatten();
                approvals.for_each(|approval| super::say(&line(approval)));
            }
            Command::Show { id } => {
                let approval = client.ask("GET", &path(id), None).await?;
                super::say(&serde_json::to_string_pretty(&approval)?);
            }
            Command::Approve(decision) => decide(&client, decision, "approve").await?,
            Command::Reject(decision) => decide(&client, decision, "reject").await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(id: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/api/v1/approvals/{id}")
}

fn line(approval: &Value) -> String {
    let text = |pointer| approval.pointer(pointer).and_then(Value::as_str);
    let text = |pointer| text(pointer).unwrap_or_default();
    // A title is somebody's text: no control character of it reaches the terminal.
    let title = text("/title").replace(char::is_control, " ");
    format!(
        "{}  {:<9}  {}/{}  {title}",
        text("/id"),
        text("/status"),
        text("/workflow/namespace"),
        text("/workflow/name"),
    )
}

async fn decide(client: &Client, decision: &Decision, word: &str) -> anyhow::Result<()> {
    let mut body = json!({});
    if let Some(by) = &decision.by {
        body["by"] = json!(by);
    }
    if let Some(comment) = &decision.comment {
        body["comment"] = json!(comment);
    }
    if let Some(form) = &decision.form {
        body["form"] = serde_json::from_str(form)
            .map_err(|error| anyhow::anyhow!("--form is no JSON: {error}"))?;
    }
    let path = format!("{}/{word}", path(&decision.id));
    let taken = client.ask("POST", &path, Some(body.to_string().into()));
    let taken = taken.await?;
    let (decision, by) = (taken["decision"].as_str(), taken["by"].as_str());
    let (decision, by) = (decision.unwrap_or_default(), by.unwrap_or_default());
    super::say(&format!("{decision} by {by}"));
    Ok(())
}
