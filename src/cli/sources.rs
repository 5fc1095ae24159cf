//! `hookwright sources`: what senders there are, and whether they are verified right.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::vectors;
use crate::signature::Scheme;

/// Look at sources and at the catalogue of senders.
#[derive(Debug, Args)]
pub struct SourcesCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    /// Where a file cannot be read.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::Verify { vectors, catalogue } => verify(vectors, catalogue.as_deref()),
        }
    }
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
