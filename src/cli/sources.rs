//! `hookwright sources`: how a source is registered with its sender, and whether the catalogue of
//! senders is right.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::client::Remote;
use super::vectors;
use crate::signature::{About, Practice, Scheme};
use crate::webhook::Source;
use crate::webhook::source;

/// Look at sources and at the catalogue of senders.
#[derive(Debug, Args)]
pub struct SourcesCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how to register a source with its sender: URL, secret, deadline, what to know.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// The source.
        name: String,
    },
    /// Check a file of test vectors against the catalogue: a line for each failure, then how many
    /// passed and failed. Needs no server.
    Verify {
        /// The vectors, a JSON list; docs/sources.md has the form.
        #[arg(long, value_name = "FILE")]
        vectors: PathBuf,
        /// Entries of your own, in the catalogue's form; they win over those of the same name.
        #[arg(long, value_name = "FILE")]
        catalogue: Option<PathBuf>,
    },
}

impl SourcesCommand {
    /// Exit code 0: all good; 1: failures.
    ///
    /// # Errors
    /// Where a file cannot be read, or the server not be asked.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::Show { remote, name } => show(remote, name).await,
            Command::Verify { vectors, catalogue } => verify(vectors, catalogue.as_deref()),
        }
    }
}

async fn show(remote: &Remote, name: &str) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/sources/{name}");
    let stored = remote.client()?.ask("GET", &path, None).await?;
    let text = stored["text"].as_str().unwrap_or_default();
    let Ok(source) = source::parse(text) else {
        anyhow::bail!("the source cannot be read by this version");
    };
    lines(&source).iter().for_each(|line| super::say(line));
    Ok(ExitCode::SUCCESS)
}

/// What somebody who registers the webhook needs to know; nothing that was not checked.
fn lines(source: &Source) -> Vec<String> {
    let name = &source.name;
    let mut lines = vec![match &source.url {
        Some(url) => format!("URL       {url}"),
        None => format!("URL       https://<your public host>/hooks/{name}"),
    }];
    if source.has_path_token() {
        lines.push("          followed by / and the path token".to_owned());
    }
    let about = source.provider.as_deref().and_then(Scheme::about);
    match about {
        Some(about) => lines.extend(told(about)),
        None => lines.push("sender    one with a `verify` of its own".to_owned()),
    }
    lines
}

fn told(about: &About) -> Vec<String> {
    let mut lines = vec![format!("sender    {}", about.title)];
    for (name, what) in &about.secrets {
        lines.push(format!("secret    {name}: {what}"));
    }
    for (name, what) in &about.parameters {
        lines.push(format!("parameter {name}: {what}"));
    }
    let practice = about.practice.as_ref().filter(|practice| practice.checked);
    lines.extend(practice.into_iter().flat_map(practised));
    if let Some(note) = &about.note {
        lines.push(format!("note      {note}"));
    }
    if !about.checked {
        lines.push("          How this sender signs was not checked; try it first.".to_owned());
    }
    let sources = about.sources.iter();
    lines.extend(sources.map(|source| format!("see       {source}")));
    lines
}

fn practised(practice: &Practice) -> Vec<String> {
    let line =
        |label: &str, text: &Option<String>| text.as_ref().map(|text| format!("{label:<10}{text}"));
    let deadline = practice
        .deadline_s
        .map(|seconds| format!("{seconds} seconds"));
    let lines = [
        line("answer in", &deadline),
        line("success", &practice.success),
        line("retries", &practice.retries),
        line("disabling", &practice.disabling),
    ];
    lines.into_iter().flatten().collect()
}

fn verify(file: &Path, catalogue: Option<&Path>) -> anyhow::Result<ExitCode> {
    let own = match catalogue {
        None => Vec::new(),
        Some(path) => match Scheme::catalogue(&read(path)?) {
            Ok(own) => own,
            Err(faults) => {
                let named = |fault| super::say(&format!("{}:{fault}", path.display()));
                faults.iter().for_each(named);
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    let report = vectors::verify(&read(file)?, &own)
        .with_context(|| format!("{} is no file of vectors", file.display()))?;
    report.failures.iter().for_each(|line| super::say(line));
    let failed = report.failures.len();
    super::say(&format!("{} passed, {failed} failed", report.passed));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
