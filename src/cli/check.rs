//! `hookwright check`: are these definitions good? For people and for CI.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::api::definitions::{self, Faulty};

/// Check definitions without a server; for CI.
#[derive(Debug, Args)]
pub struct Check {
    /// Files and directories; directories are read with all below them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How faults are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

impl Check {
    /// Exit code 0: all good; 1: faults; 2: nothing could be read.
    ///
    /// # Errors
    /// Where a path cannot be read.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let bundle = definitions::read(&self.paths)?;
        let faults = definitions::faults(&bundle);
        match self.format {
            Format::Text => text(&faults, bundle.len()),
            Format::Json => super::say(&serde_json::to_string_pretty(&faults)?),
            Format::Github => faults.iter().for_each(|fault| super::say(&github(fault))),
        }
        Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(faults: &[Faulty], files: usize) {
    for faulty in faults {
        super::say(&faulty.to_string());
    }
    let word = if faults.len() == 1 { "fault" } else { "faults" };
    super::say(&format!("{files} files, {} {word}", faults.len()));
}

fn github(faulty: &Faulty) -> String {
    let fault = &faulty.fault;
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let message = match &fault.hint {
        Some(hint) => format!("{} ({hint})", fault.message),
        None => fault.message.clone(),
    };
    let (file, line, column) = (escape(&faulty.file), fault.line, fault.column);
    format!("::error file={file},line={line},col={column}::{}", escape(&message))
}
