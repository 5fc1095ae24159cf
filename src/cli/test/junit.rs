//! Results as JUnit XML, as CI systems read it.
//!
//! The crates that write it bring a second library for time each; the format is small.

use std::fmt::Write as _;
use std::path::Path;

use super::{Case, Tested};

/// All results as one document.
pub(super) fn text(all: &[Tested]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    all.iter().for_each(|tested| suite(tested, &mut out));
    out.push_str("</testsuites>\n");
    out
}

fn suite(tested: &Tested, out: &mut String) {
    let path = escaped(&tested.path.display().to_string());
    let tests = tested.passed() + tested.failed();
    let failures = tested.failed();
    let seconds: f64 = tested.cases.iter().map(|c| c.took.as_secs_f64()).sum();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "  <testsuite name=\"{path}\" tests=\"{tests}\" failures=\"{failures}\" \
         errors=\"0\" time=\"{seconds:.3}\">"
    );
    if !tested.faults.is_empty() {
        let text = tested.faults.join("\n");
        let name = "the document can be used";
        failed_case(&tested.path, (name, 1, 0.0), &text, out);
    }
    for case in &tested.cases {
        one(&tested.path, case, out);
    }
    out.push_str("  </testsuite>\n");
}

fn one(path: &Path, case: &Case, out: &mut String) {
    let seconds = case.took.as_secs_f64();
    let told = (case.name.as_str(), case.line, seconds);
    match case.is_good() {
        true => {
            let _ = writeln!(out, "    {}/>", opening(path, told));
        }
        false => failed_case(path, told, &case.failures(path).join("\n\n"), out),
    }
}

fn failed_case(path: &Path, told: (&str, u32, f64), text: &str, out: &mut String) {
    let first = escaped(text.lines().next().unwrap_or_default());
    let _ = writeln!(
        out,
        "    {}>\n      <failure message=\"{first}\">{}</failure>\n    </testcase>",
        opening(path, told),
        escaped(text)
    );
}

fn opening(path: &Path, (name, line, seconds): (&str, u32, f64)) -> String {
    let path = escaped(&path.display().to_string());
    format!(
        "<testcase name=\"{}\" classname=\"{path}\" file=\"{path}\" line=\"{line}\" \
         time=\"{seconds:.3}\"",
        escaped(name)
    )
}

/// Text for content and attributes; characters that XML 1.0 does not have are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
