//! `hookwright check`: are these definitions good? For people and for CI.

mod references;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::client::Client;
use crate::api::definitions::{self, File, FileFault, ReadError};
use crate::server::reload::CHECKS;
use crate::simulate;
use crate::workflow::Documents;

/// The environment in which what is missing is an error: nothing there may be half there.
const STRICT: &str = "production";

/// Check definitions and tests of workflows without running anything; for CI.
///
/// Everything that is wrong is told at once, with file, line, column and what was probably meant.
/// References to destinations (and, with --server, to secrets) that lead nowhere are warnings, and
/// errors with `--environment production`.
///
/// Exit codes: 0 = no fault (there may be warnings); 1 = faults; 2 = wrong usage, or a path that
/// cannot be read.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// Files and directories; directories are read with all below them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How faults are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The environment the definitions are meant for.
    #[arg(
        long,
        env = "HOOKWRIGHT_ENVIRONMENT",
        default_value = "development",
        value_name = "NAME"
    )]
    environment: String,
    /// A server to ask which secrets and destinations it has.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// An API key for that server.
    #[arg(long, env = "HOOKWRIGHT_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot work.
    Error,
    /// It may not work where it is deployed.
    Warning,
}

/// One thing that was found.
#[derive(Debug)]
pub struct Finding {
    severity: Severity,
    fault: FileFault,
}

impl Check {
    /// Exit code 0: no fault; 1: faults; 2: a path cannot be read.
    ///
    /// # Errors
    /// Where the server that was named does not answer.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let files = match read(&self.paths) {
            Ok(files) => files,
            Err(error) => return Ok(super::usage(&error.into())),
        };
        let (tests, files): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| definitions::is_test(&file.path));
        let count = files.len() + tests.len();
        let error = |fault| Finding {
            severity: Severity::Error,
            fault,
        };
        let mut findings: Vec<_> = self.missing(&files).await?;
        findings.extend(tests.iter().flat_map(of_tests).map(error));
        match definitions::check(files, &CHECKS, &Documents::default()) {
            Ok(_) => {}
            Err(ReadError::Faults(faults)) => findings.extend(faults.into_iter().map(error)),
            Err(error) => return Ok(super::usage(&error.into())),
        }
        findings.sort_by(|one, other| place(one).cmp(&place(other)));
        report::print(&findings, count, self.format)?;
        let good = findings.iter().all(|f| f.severity == Severity::Warning);
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// References that lead nowhere, as far as can be known.
    async fn missing(&self, files: &[File]) -> anyhow::Result<Vec<Finding>> {
        let severity = match self.environment == STRICT {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let server = match &self.server {
            Some(server) => Some(Client::new(server, self.api_key.clone())?),
            None => None,
        };
        let faults = references::missing(files, server.as_ref()).await?;
        let finding = |fault| Finding { severity, fault };
        Ok(faults.into_iter().map(finding).collect())
    }
}

fn place(finding: &Finding) -> (&Path, u32, u32) {
    let FileFault { path, fault } = &finding.fault;
    (path, fault.line, fault.column)
}

/// What is wrong in a file of tests.
fn of_tests(file: &File) -> Vec<FileFault> {
    let path = &file.path;
    let named = |fault| FileFault {
        path: path.clone(),
        fault,
    };
    let faults = simulate::parse(&file.text).err().unwrap_or_default();
    faults.into_iter().map(named).collect()
}

/// Everything these paths lead to, each file once.
fn read(paths: &[PathBuf]) -> Result<Vec<File>, ReadError> {
    let mut files = BTreeMap::new();
    for path in paths {
        if !path.is_dir() {
            files.insert(path.clone(), definitions::file(path)?);
            continue;
        }
        let tests = definitions::tests(path)?;
        let tests = tests.iter().map(|path| definitions::file(path));
        for file in tests {
            let file = file?;
            files.insert(file.path.clone(), file);
        }
        for mut file in definitions::files(path)? {
            file.path = path.join(&file.path);
            files.insert(file.path.clone(), file);
        }
    }
    Ok(files.into_values().collect())
}

/// What is wrong with the definitions below a directory.
pub(super) fn faults(directory: &Path) -> anyhow::Result<Vec<FileFault>> {
    match definitions::read(directory, &CHECKS) {
        Ok(_) => Ok(Vec::new()),
        Err(ReadError::Faults(mut faults)) => {
            faults
                .iter_mut()
                .for_each(|fault| fault.path = directory.join(&fault.path));
            Ok(faults)
        }
        Err(error) => Err(error.into()),
    }
}
