//! `hookwright check`: are these definitions good? For people and for CI.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::api::definitions::{self, FileFault, ReadError};
use crate::server::reload::CHECKS;
use crate::workflow::Documents;

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
    /// Exit code 0: all good; 1: faults.
    ///
    /// # Errors
    /// Where a path cannot be read.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let (mut good, mut faults) = (0, Vec::new());
        for path in &self.paths {
            let (read, found) = check(path)?;
            good += read;
            faults.extend(found);
        }
        match self.format {
            Format::Text => text(&faults, good),
            Format::Json => super::say(&json(&faults)?),
            Format::Github => faults.iter().for_each(|fault| super::say(&github(fault))),
        }
        Ok(if faults.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// How many definitions are good, and what is wrong with the others.
pub(super) fn check(path: &Path) -> anyhow::Result<(usize, Vec<FileFault>)> {
    if path.is_dir() {
        return match definitions::read(path, &CHECKS) {
            Ok(set) => Ok((set.len(), Vec::new())),
            Err(ReadError::Faults(mut faults)) => {
                faults
                    .iter_mut()
                    .for_each(|fault| fault.path = path.join(&fault.path));
                Ok((0, faults))
            }
            Err(error) => Err(error.into()),
        };
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let named = |fault| FileFault {
        path: path.to_owned(),
        fault,
    };
    Ok(
        match definitions::definition(text, &CHECKS, &Documents::default()) {
            Ok(_) => (1, Vec::new()),
            Err(faults) => (0, faults.into_iter().map(named).collect()),
        },
    )
}

fn text(faults: &[FileFault], good: usize) {
    faults
        .iter()
        .for_each(|fault| super::say(&fault.to_string()));
    match faults.len() {
        0 => super::say(&format!("{good} definitions, no fault")),
        1 => super::say("1 fault"),
        count => super::say(&format!("{count} faults")),
    }
}

fn json(faults: &[FileFault]) -> anyhow::Result<String> {
    let mut list = Vec::new();
    for FileFault { path, fault } in faults {
        let mut value = serde_json::to_value(fault)?;
        value["file"] = path.display().to_string().into();
        list.push(value);
    }
    Ok(serde_json::to_string_pretty(&list)?)
}

fn github(FileFault { path, fault }: &FileFault) -> String {
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let message = match &fault.hint {
        Some(hint) => format!("{} ({hint})", fault.message),
        None => fault.message.clone(),
    };
    let (line, column) = (fault.line, fault.column);
    format!(
        "::error file={},line={line},col={column}::{}",
        path.display(),
        escape(&message)
    )
}
