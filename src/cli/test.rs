//! `hookwright test`: workflows played against scripted answers, for people and for CI.

mod junit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::say;
use crate::api::definitions::{self, Definition, FileFault, ReadError};
use crate::call;
use crate::expression;
use crate::server::reload::CHECKS;
use crate::simulate::{self, Mismatch, Stage, Suite, Verdict};
use crate::workflow::{self, Fault};

/// Test workflows with scripted answers and a clock of their own; for CI.
///
/// Plays the cases of every `*.test.yaml` below the paths: the real run and the real policies of
/// the destinations, with scripted answers in place of the network. Time is virtual, so a wait of
/// a month takes milliseconds, and every result is the same each time.
///
/// Exit codes: 0 = all passed; 1 = failures; 2 = wrong usage, no tests, or an unreadable path.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Test {
    /// Directories, read with all below them, and test files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show the timeline of every case, not only of those that fail.
    #[arg(long, short)]
    verbose: bool,
}

/// The results of a test document.
pub(super) struct Tested {
    /// The document.
    path: PathBuf,
    /// What is wrong with it, or with its definitions; then no case was played.
    faults: Vec<String>,
    cases: Vec<Case>,
}

/// The result of a case.
pub(super) struct Case {
    name: String,
    line: u32,
    verdict: Verdict,
    took: Duration,
}

/// The settings of the program, as far as they matter to a rehearsal.
struct Settings {
    call: call::Config,
    tasks_max: u32,
}

impl Test {
    /// Exit code 0: all passed; 1: failures; 2: there is nothing to test.
    ///
    /// # Errors
    /// Where the results cannot be written.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let begun = Instant::now();
        let (settings, paths) = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => return Ok(super::usage(&error)),
        };
        let mut all = Vec::new();
        for path in paths {
            let tested = self.file(path, &settings).await?;
            print(&tested, self.verbose);
            all.push(tested);
        }
        let passed: usize = all.iter().map(Tested::passed).sum();
        let failed: usize = all.iter().map(Tested::failed).sum();
        say(&format!(
            "{passed} passed, {failed} failed in {:.2} s",
            begun.elapsed().as_secs_f64()
        ));
        if let Some(path) = &self.junit {
            let text = junit::text(&all);
            std::fs::write(path, text)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// The built-in settings, so that results do not depend on a machine; and the documents.
    fn prepare(&self) -> anyhow::Result<(Settings, Vec<PathBuf>)> {
        let settings: crate::server::Settings =
            crate::config::Layers::new(crate::config::embedded::DEFAULT)?.load()?;
        expression::configure(settings.expression);
        let mut paths = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                paths.extend(definitions::tests(path)?);
            } else {
                std::fs::metadata(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                paths.push(path.clone());
            }
        }
        paths.sort();
        paths.dedup();
        anyhow::ensure!(!paths.is_empty(), "there is no *.test.yaml here");
        let settings = Settings {
            call: settings.call,
            tasks_max: settings.run.tasks_max,
        };
        Ok((settings, paths))
    }

    async fn file(&self, path: PathBuf, settings: &Settings) -> anyhow::Result<Tested> {
        let mut tested = Tested {
            faults: Vec::new(),
            cases: Vec::new(),
            path,
        };
        let (suite, definition, stage) = match load(&tested.path, settings) {
            Ok(loaded) => loaded,
            Err(faults) => {
                tested.faults = faults;
                return Ok(tested);
            }
        };
        for case in &suite.cases {
            let wanted = self.filter.as_ref();
            if wanted.is_some_and(|filter| !case.name.contains(filter.as_str())) {
                continue;
            }
            let begun = Instant::now();
            let verdict = Box::pin(simulate::rehearse(&definition, case, &stage)).await?;
            tested.cases.push(Case {
                name: case.name.clone(),
                line: case.line,
                verdict,
                took: begun.elapsed(),
            });
        }
        Ok(tested)
    }
}

impl Tested {
    fn passed(&self) -> usize {
        self.cases.iter().filter(|case| case.is_good()).count()
    }

    fn failed(&self) -> usize {
        let failed = self.cases.len() - self.passed();
        failed + usize::from(!self.faults.is_empty())
    }
}

impl Case {
    fn is_good(&self) -> bool {
        self.verdict.mismatches.is_empty()
    }

    /// What is otherwise than expected, each with its line in the document.
    fn failures(&self, path: &Path) -> Vec<String> {
        let line = |mismatch: &Mismatch| {
            let (line, column) = mismatch.place;
            let pointer = match mismatch.pointer.is_empty() {
                true => String::new(),
                false => format!(" {}", mismatch.pointer),
            };
            let path = path.display();
            format!("{path}:{line}:{column}:{pointer}\n{}", mismatch.message)
        };
        self.verdict.mismatches.iter().map(line).collect()
    }
}

type Loaded = (Suite, Arc<workflow::Definition>, Stage);

/// Reads a test document with its workflow and the definitions around it.
fn load(path: &Path, settings: &Settings) -> Result<Loaded, Vec<String>> {
    let one = |error: anyhow::Error| vec![format!("{error:#}")];
    let file = definitions::file(path).map_err(|error| one(error.into()))?;
    let suite = simulate::parse(&file.text).map_err(|faults| {
        let line = |fault: Fault| {
            let path = path.to_owned();
            FileFault { path, fault }.to_string()
        };
        faults.into_iter().map(line).collect::<Vec<_>>()
    })?;
    let here = path.parent().unwrap_or_else(|| Path::new(""));
    let definition = super::run::workflow(&here.join(&suite.workflow)).map_err(|error| {
        let (line, column) = suite.place;
        one(error.context(format!("{}:{line}:{column}", path.display())))
    })?;
    let directory = match suite.definitions.as_deref() {
        Some(directory) => here.join(directory),
        None if here.as_os_str().is_empty() => PathBuf::from("."),
        None => here.to_owned(),
    };
    let (destinations, workflows) = around(&directory).map_err(one)?;
    let stage = Stage {
        destinations,
        workflows,
        call: settings.call.clone(),
        tasks_max: settings.tasks_max,
    };
    Ok((suite, Arc::new(definition), stage))
}

/// Destinations, and workflows.
type Around = (Vec<Arc<call::Document>>, Vec<Arc<workflow::Definition>>);

/// The destinations and workflows below a directory, all of whose definitions must be valid.
pub(super) fn around(directory: &Path) -> anyhow::Result<Around> {
    let set = definitions::read(directory, &CHECKS).map_err(|error| match error {
        ReadError::Faults(mut faults) => {
            faults
                .iter_mut()
                .for_each(|fault| fault.path = directory.join(&fault.path));
            ReadError::Faults(faults)
        }
        error => error,
    })?;
    let (mut destinations, mut workflows) = (Vec::new(), Vec::new());
    for defined in set {
        // They were read without a fault a moment ago.
        match defined.definition {
            Definition::Destination(_, text) => {
                let document = call::parse(&text);
                let document = document.map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
                destinations.push(Arc::new(document));
            }
            // One that calls operations of API documents needs those; it is played on its own.
            Definition::Workflow(new) => workflows.extend(workflow::parse(&new.text).map(Arc::new)),
            Definition::Source(..) => {}
        }
    }
    Ok((destinations, workflows))
}

fn print(tested: &Tested, verbose: bool) {
    say(&tested.path.display().to_string());
    for fault in &tested.faults {
        say("  FAILED  the document cannot be used");
        say(&indented(fault));
    }
    for case in &tested.cases {
        let good = case.is_good();
        let word = if good { "ok    " } else { "FAILED" };
        let calls = case.verdict.calls.len();
        let virtually = case.verdict.played.as_ref().map(|played| {
            let elapsed = played.ended_at.duration_since(played.started_at);
            let calls = match calls {
                1 => "1 call".to_owned(),
                calls => format!("{calls} calls"),
            };
            format!(" ({calls}, {})", super::timeline::shown(elapsed))
        });
        say(&format!(
            "  {word}  {}{}",
            case.name,
            virtually.unwrap_or_default()
        ));
        for failure in case.failures(&tested.path) {
            say(&indented(&failure));
        }
        if let Some(played) = &case.verdict.played
            && (verbose || !good)
        {
            super::timeline::print(played, "          ");
        }
    }
}

fn indented(text: &str) -> String {
    format!("          {}", text.replace('\n', "\n            "))
}
