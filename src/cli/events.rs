//! `hookwright events`: what has come in, and what became of it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Remote;
use super::output::{Output, facts, table, text};
use super::{samples, say};

/// List, show, explain and replay events; send signed samples to sources.
#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    remote: Remote,
    /// How answers are printed.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List events, newest first.
    List {
        /// Only of this CloudEvents type.
        #[arg(long)]
        r#type: Option<String>,
        /// Only of this CloudEvents source.
        #[arg(long)]
        source: Option<String>,
        /// Most events, 1 to 1000.
        #[arg(long, default_value_t = 100)]
        limit: u16,
        /// Continue behind this event, the last of the page before.
        #[arg(long, value_name = "EVENT")]
        after: Option<String>,
    },
    /// Show an event and what became of it.
    Show {
        /// Its id.
        event: String,
    },
    /// Append an event again: it is routed anew, to what is deployed now.
    Replay {
        /// Its id.
        event: String,
    },
    #[command(flatten)]
    Samples(samples::Command),
}

impl Events {
    /// Carries out the command.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        match &self.command {
            Command::List {
                r#type,
                source,
                limit,
                after,
            } => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("limit", &limit.to_string());
                let filters = [("type", r#type), ("source", source), ("after", after)];
                let given = |(name, value): (&'static str, &Option<String>)| {
                    value.clone().map(|value| (name, value))
                };
                query.extend_pairs(filters.into_iter().filter_map(given));
                let path = format!("/api/v1/events?{}", query.finish());
                let events = client.ask("GET", &path, None).await?;
                self.output.print(&events, list)?;
            }
            Command::Show { event } => {
                let path = format!("/api/v1/events/{event}");
                let event = client.ask("GET", &path, None).await?;
                self.output.print(&event, show)?;
            }
            Command::Replay { event } => {
                let path = format!("/api/v1/events/{event}/replay");
                let appended = client.ask("POST", &path, None).await?;
                self.output
                    .print(&appended, |appended| say(&text(&appended["id"])))?;
            }
            Command::Samples(command) => return command.run(&client).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(events: &Value) {
    let rows = events.as_array().into_iter().flatten().map(|event| {
        vec![
            text(&event["id"]),
            text(&event["type"]),
            text(&event["source"]),
            text(&event["bodyBytes"]),
            text(&event["receivedAt"]),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(&["EVENT", "TYPE", "SOURCE", "BYTES", "RECEIVED"], &rows);
}

fn show(event: &Value) {
    facts(&[
        ("event", &event["id"]),
        ("type", &event["type"]),
        ("source", &event["source"]),
        ("id", &event["eventId"]),
        ("media", &event["datacontenttype"]),
        ("bytes", &event["bodyBytes"]),
        ("received", &event["receivedAt"]),
        ("decision", &event["decision"]),
        ("ignored", &event["ignored"]),
    ]);
    for (name, value) in event["attributes"].as_object().into_iter().flatten() {
        say(&format!("  {name} = {}", text(value)));
    }
    for run in event["runs"].as_array().into_iter().flatten() {
        say(&format!("run:      {}", text(run)));
    }
}
