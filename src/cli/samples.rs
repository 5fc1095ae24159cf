//! `hookwright events send`, `samples` and `why`: trying a source without its sender, and asking
//! why an event led to what it did.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::say;
use crate::signature::samples;

/// What can be done with samples and events.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a sample to a source, signed with the source's own secret; prints the event's id.
    Send {
        /// The source.
        #[arg(long)]
        source: String,
        /// The sample, such as `orders/create`; `events samples` lists them.
        #[arg(long)]
        sample: String,
    },
    /// List the samples there are. Needs no server.
    Samples {
        /// Only of this provider.
        #[arg(long)]
        provider: Option<String>,
    },
    /// Show why an event led to what it did: secret, duplicates, runs, what filters said.
    Why {
        /// Its id.
        event: String,
    },
}

impl Command {
    /// Carries out the command.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Self::Send { source, sample } => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("sample", sample);
                let path = format!("/api/v1/sources/{source}/samples?{}", query.finish());
                let sent = client.ask("POST", &path, None).await?;
                say(sent["id"].as_str().unwrap_or("no event"));
            }
            Self::Samples { provider } => list(provider.as_deref()),
            Self::Why { event } => {
                let path = format!("/api/v1/events/{event}/why");
                let why = client.ask("GET", &path, None).await?;
                lines(&why).iter().for_each(|line| say(line));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(provider: Option<&str>) {
    let all = samples::gallery().iter();
    let wanted = all.filter(|sample| provider.is_none_or(|wanted| wanted == sample.provider));
    for sample in wanted {
        say(&format!("{:<18} {}", sample.provider, sample.name));
    }
}

fn lines(why: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let workflow = |workflow: &Value| {
        let part = |name: &str| text(&workflow[name]);
        format!(
            "{}/{} ({})",
            part("namespace"),
            part("name"),
            part("version")
        )
    };
    let list = |name: &str| why[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("decision  {}", text(&why["decision"]))];
    for (label, name) in [("reason", "ignored"), ("replay of", "replayOf")] {
        if why[name].is_string() {
            lines.push(format!("{label:<9} {}", text(&why[name])));
        }
    }
    let secret = &why["verification"]["secret"];
    if secret.is_object() {
        let (name, reference) = (text(&secret["name"]), text(&secret["reference"]));
        let place = secret["index"].as_u64().unwrap_or_default() + 1;
        lines.push(format!(
            "secret    {name}, {place} of {}, in {reference}",
            secret["inForce"]
        ));
    } else if why["verification"]["verified"] == false {
        lines.push("secret    none: the source takes everything".to_owned());
    }
    for duplicate in list("duplicates") {
        let (cause, at) = (text(&duplicate["cause"]), text(&duplicate["receivedAt"]));
        lines.push(format!("{cause:<9} {at} {}", text(&duplicate["id"])));
    }
    for run in list("runs") {
        let of = workflow(&run["workflow"]);
        lines.push(format!("run       {} {of}", text(&run["id"])));
    }
    for filter in list("filters") {
        let (of, reason) = (workflow(&filter["workflow"]), text(&filter["reason"]));
        lines.push(format!("filter    {of}: {reason}"));
    }
    lines
}
