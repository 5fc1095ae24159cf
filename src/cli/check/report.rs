//! Findings as text, as JSON, and as annotations of GitHub Actions.

use super::{Finding, Format, Severity};
use crate::cli::say;

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Prints all findings; `files` is how many files were checked.
pub(super) fn print(findings: &[Finding], files: usize, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => text(findings, files),
        Format::Json => say(&json(findings)?),
        Format::Github => findings.iter().for_each(|finding| say(&github(finding))),
    }
    Ok(())
}

fn text(findings: &[Finding], files: usize) {
    for Finding { severity, fault } in findings {
        say(&match severity {
            Severity::Error => fault.to_string(),
            Severity::Warning => format!("warning: {fault}"),
        });
    }
    let count = |wanted| findings.iter().filter(|f| f.severity == wanted).count();
    let (faults, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut told = match faults {
        0 => format!("{files} files, no fault"),
        1 => "1 fault".to_owned(),
        faults => format!("{faults} faults"),
    };
    match warnings {
        0 => {}
        1 => told.push_str(", 1 warning"),
        warnings => told.push_str(&format!(", {warnings} warnings")),
    }
    say(&told);
}

fn json(findings: &[Finding]) -> anyhow::Result<String> {
    let mut list = Vec::new();
    for Finding { severity, fault } in findings {
        let mut value = serde_json::to_value(&fault.fault)?;
        value["file"] = fault.path.display().to_string().into();
        value["severity"] = severity.name().into();
        list.push(value);
    }
    Ok(serde_json::to_string_pretty(&list)?)
}

/// A workflow command; its values escape what would end them.
fn github(Finding { severity, fault }: &Finding) -> String {
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let (path, fault) = (fault.path.display().to_string(), &fault.fault);
    let message = match &fault.hint {
        Some(hint) => format!("{} ({hint})", fault.message),
        None => fault.message.clone(),
    };
    format!(
        "::{} file={},line={},col={}::{}",
        severity.name(),
        property(&path),
        fault.line,
        fault.column,
        escape(&message)
    )
}
