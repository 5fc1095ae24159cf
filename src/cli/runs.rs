//! `hookwright runs` and `hookwright replay`: seeing and controlling the runs of a server.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Remote};
use super::output::{self, Output, facts, table, text, workflow};
use super::say;

/// List, show, cancel, suspend and resume runs.
#[derive(Debug, Args)]
pub struct Runs {
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
    /// List runs, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Continue behind this run, the last of the page before.
        #[arg(long, value_name = "RUN")]
        after: Option<String>,
    },
    /// Show a run with every task it has executed.
    Show {
        /// Its id.
        run: String,
    },
    /// Cancel runs, and the sub-workflows they await.
    Cancel(Which),
    /// Suspend runs: what they have begun ends, nothing more starts.
    Suspend(Which),
    /// Resume suspended runs.
    Resume(Which),
}

#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only of this workflow: namespace/name or namespace/name/version.
    #[arg(long)]
    workflow: Option<String>,
    /// Only of this status.
    #[arg(long)]
    status: Option<String>,
    /// Most runs, 1 to 1000.
    #[arg(long, default_value_t = 100)]
    limit: u16,
}

/// Runs by id, or those that a filter finds.
#[derive(Debug, Args)]
struct Which {
    /// Ids of runs; without any, a filter says which.
    runs: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

/// Run a run again, as a new run of the same event.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    remote: Remote,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Id of the run.
    run: String,
    /// Reference of a task that faulted, such as /do/1/post: what succeeded before it is not
    /// repeated. Without it, from the start.
    #[arg(long, value_name = "REFERENCE")]
    from: Option<String>,
    /// Another version of the workflow, or `latest`.
    #[arg(long)]
    version: Option<String>,
}

impl Runs {
    /// Carries out the command. Exit code 1 where a run could not be told.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        match &self.command {
            Command::List { filter, after } => {
                let path = format!("/api/v1/runs?{}", filter.query(after.as_deref()));
                let runs = client.ask("GET", &path, None).await?;
                self.output.print(&runs, list)?;
            }
            Command::Show { run } => {
                let run = client
                    .ask("GET", &format!("/api/v1/runs/{run}"), None)
                    .await?;
                self.output.print(&run, show)?;
            }
            Command::Cancel(which) => return self.tell(&client, which, "cancel").await,
            Command::Suspend(which) => return self.tell(&client, which, "suspend").await,
            Command::Resume(which) => return self.tell(&client, which, "resume").await,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn tell(
        &self,
        client: &Client,
        which: &Which,
        command: &str,
    ) -> anyhow::Result<ExitCode> {
        if which.runs.is_empty() {
            let path = format!("/api/v1/runs/{command}");
            let body = which.filter.body().to_string();
            let told = client.ask("POST", &path, Some(body.into())).await?;
            self.output.print(&told, |told| {
                let runs = told["runs"].as_array().map_or(0, Vec::len);
                let more = match told["more"].as_bool() {
                    Some(true) => "; there may be more",
                    _ => "",
                };
                say(&format!("{command}: {runs} runs were told{more}"));
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut code = ExitCode::SUCCESS;
        for run in &which.runs {
            let path = format!("/api/v1/runs/{run}/{command}");
            match client.ask("POST", &path, None).await {
                Ok(told) => self.output.print(&told, |told| {
                    say(&format!("{run}: {command} (was {})", text(&told["status"])));
                })?,
                Err(error) => {
                    say(&format!("{run}: {error:#}"));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

impl Filter {
    fn query(&self, after: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let pairs = [
            ("workflow", self.workflow.as_deref()),
            ("status", self.status.as_deref()),
            ("after", after),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &self.limit.to_string());
        query.finish()
    }

    fn body(&self) -> Value {
        let mut body = json!({ "limit": self.limit });
        if let Some(workflow) = &self.workflow {
            body["workflow"] = json!(workflow);
        }
        if let Some(status) = &self.status {
            body["status"] = json!(status);
        }
        body
    }
}

impl Replay {
    /// Starts the run again.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut body = json!({});
        if let Some(from) = &self.from {
            body["from"] = json!(from);
        }
        if let Some(version) = &self.version {
            body["version"] = json!(version);
        }
        let path = format!("/api/v1/runs/{}/replay", self.run);
        let client = self.remote.client()?;
        let started = client
            .ask("POST", &path, Some(body.to_string().into()))
            .await?;
        self.output
            .print(&started, |started| say(&text(&started["id"])))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(runs: &Value) {
    let rows = runs.as_array().into_iter().flatten().map(|run| {
        vec![
            text(&run["id"]),
            text(&run["status"]),
            workflow(run),
            text(&run["createdAt"]),
            text(&run["endedAt"]),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(&["RUN", "STATUS", "WORKFLOW", "CREATED", "ENDED"], &rows);
}

fn show(run: &Value) {
    facts(&[
        ("run", &run["id"]),
        ("workflow", &Value::String(workflow(run))),
        ("status", &run["status"]),
        ("event", &run["eventId"]),
        ("replays", &run["replayOf"]["run"]),
        ("from", &run["replayOf"]["from"]),
        ("parent", &run["parent"]["run"]),
        ("created", &run["createdAt"]),
        ("ended", &run["endedAt"]),
        ("input", &run["input"]),
        ("output", &run["output"]),
        ("error", &run["error"]),
    ]);
    let rows = run["tasks"].as_array().into_iter().flatten().map(|task| {
        let attempts = task["attempts"].as_array().map_or(0, Vec::len);
        let note = match (&task["error"], &task["run"]) {
            (Value::Null, Value::Null) => String::new(),
            (Value::Null, run) => format!("run {}", text(run)),
            (error, _) => format!("{} {}", error["status"], output::text(&error["title"])),
        };
        vec![
            text(&task["reference"]),
            text(&task["iteration"]),
            text(&task["status"]),
            attempts.to_string(),
            text(&task["startedAt"]),
            note,
        ]
    });
    let rows: Vec<_> = rows.collect();
    say("");
    table(
        &["TASK", "ITERATION", "STATUS", "ATTEMPTS", "STARTED", "NOTE"],
        &rows,
    );
}
