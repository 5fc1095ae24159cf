//! `hookwright run`: one run in memory against the real destinations.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use secrecy::SecretString;

use super::Common;
use crate::api::definitions::FileFault;
use crate::expression::{self, Value};
use crate::run::End;
use crate::secret::Secrets;
use crate::simulate::{self, Stage};
use crate::workflow::{self, Definition, document};

/// Bytes of an input at most, as many as the API takes.
const INPUT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Run a workflow once in memory, against the real destinations, and show its timeline.
///
/// The calls are real: under the policies of the destinations in --definitions, and only to
/// addresses that the egress guard lets through. Nothing is stored, no server is needed.
///
/// Exit codes: 0 = completed; 1 = faulted; 2 = wrong usage, or definitions that are not valid.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Run {
    /// The workflow.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The input: JSON, @FILE with JSON, or - for standard input. `{}` where not given.
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// A directory with the destinations.
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// A file with an object of secrets by name, in place of those that a server has stored.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Networks calls may go to although they are private, such as 10.1.0.0/16; may be repeated.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    egress_allow: Vec<String>,
    /// Name of the environment: `$runtime.metadata.environment`, and its built-in settings.
    #[arg(long, env = "HOOKWRIGHT_ENVIRONMENT", default_value = "development")]
    environment: String,
    /// A TOML file over the built-in settings of the environment.
    #[arg(long, env = "HOOKWRIGHT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What a run needs.
struct Prepared {
    definition: Arc<Definition>,
    input: Value,
    stage: Stage,
    secrets: Arc<Secrets>,
}

impl Run {
    /// Exit code 0: completed; 1: faulted; 2: it could not begin.
    ///
    /// # Errors
    /// Where the network cannot be used at all.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let Prepared {
            definition,
            input,
            stage,
            secrets,
        } = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => return Ok(super::usage(&error)),
        };
        let document = &definition.document;
        super::say(&format!(
            "{}/{} {}",
            document.namespace, document.name, document.version
        ));
        let around = (self.environment.as_str(), secrets);
        let played = Box::pin(simulate::perform(definition, input, &stage, around)).await?;
        super::timeline::print(&played, "");
        Ok(match played.end {
            Some(End::Completed(_)) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    fn prepare(&self) -> anyhow::Result<Prepared> {
        let common = Common {
            environment: self.environment.clone(),
            config: self.config.clone(),
            database_url: None,
            data_dir: None,
        };
        let mut settings = common.settings()?;
        settings
            .call
            .egress_allow
            .extend(self.egress_allow.iter().cloned());
        expression::configure(settings.expression);
        let definition = Arc::new(workflow(&self.file)?);
        let destinations = match &self.definitions {
            Some(directory) => super::test::around(directory)?.0,
            None => Vec::new(),
        };
        let secrets = match &self.secrets {
            Some(file) => stored(file)?,
            None => HashMap::new(),
        };
        Ok(Prepared {
            definition,
            input: self.input()?,
            stage: Stage {
                destinations,
                workflows: Vec::new(),
                call: settings.call,
                tasks_max: settings.run.tasks_max,
            },
            secrets: Arc::new(Secrets::configured(secrets, settings.secret)),
        })
    }

    fn input(&self) -> anyhow::Result<Value> {
        let text = match self.input.as_deref() {
            None => "{}".to_owned(),
            Some("-") => bounded(std::io::stdin(), "standard input")?,
            Some(text) => match text.strip_prefix('@') {
                Some(path) => {
                    let file = std::fs::File::open(path);
                    bounded(
                        file.with_context(|| format!("{path} cannot be read"))?,
                        path,
                    )?
                }
                None => text.to_owned(),
            },
        };
        Value::from_json(text.as_bytes())
            .map_err(|error| anyhow::anyhow!("the input is not JSON: {error}"))
    }
}

fn bounded(reader: impl std::io::Read, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut reader = reader.take(INPUT_BYTES_MAX + 1);
    reader
        .read_to_string(&mut text)
        .with_context(|| format!("{name} cannot be read"))?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        bail!("{name} has more than {INPUT_BYTES_MAX} bytes");
    }
    Ok(text)
}

/// Reads a workflow; all its faults in the error.
pub(super) fn workflow(path: &Path) -> anyhow::Result<Definition> {
    let file = crate::api::definitions::file(path)?;
    workflow::parse(&file.text).map_err(|faults| {
        let named = faults.into_iter().map(|fault| FileFault {
            path: path.to_owned(),
            fault,
        });
        let lines: Vec<_> = named.map(|fault| fault.to_string()).collect();
        anyhow::anyhow!("the workflow is not valid\n{}", lines.join("\n"))
    })
}

fn stored(path: &Path) -> anyhow::Result<HashMap<String, SecretString>> {
    let file = crate::api::definitions::file(path)?;
    // A fault may not quote the text: it names a place.
    let root = document::read(&file.text)
        .map_err(|fault| anyhow::anyhow!("{}:{}: no YAML or JSON", path.display(), fault.line))?;
    let Some(members) = root.to_value().members() else {
        bail!("{} is no object of secrets by name", path.display());
    };
    let text = |value: Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(&value.to_json()).into_owned(),
    };
    let secret = |(name, value)| (name, text(value).into());
    Ok(members.into_iter().map(secret).collect())
}
