//! Secrets that a workflow names and this environment does not have: a workflow cannot work
//! without them, so in production it is not deployed, and in staging the log says so.

use super::{Defined, Definition, FileFault};
use crate::run::Resolve;
use crate::workflow::Fault;
use crate::workflow::document::{self, Content};

/// Where workflows without their secrets are refused.
const STRICT: &str = "production";

/// Where the log tells of them.
const TOLD: &str = "staging";

/// What is missing of `use.secrets` of a workflow, where that is a reason to refuse it.
#[must_use]
pub fn missing(text: &str, environment: &str, known: &Resolve) -> Vec<Fault> {
    if environment != STRICT && environment != TOLD {
        return Vec::new();
    }
    let Ok(root) = document::read(text) else {
        return Vec::new();
    };
    let Some(Content::Array(names)) = root.pointer("/use/secrets").map(|node| &node.content) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for (index, node) in names.iter().enumerate() {
        let Some(name) = node.as_str() else { continue };
        if known(name).is_some() {
            continue;
        }
        if environment == TOLD {
            tracing::warn!(
                secret = name,
                "a workflow was deployed that names an unknown secret"
            );
            continue;
        }
        faults.push(Fault {
            pointer: format!("/use/secrets/{index}"),
            line: node.line,
            column: node.column,
            message: format!("the environment {environment} has no secret `{name}`"),
            hint: Some(format!("store it with PUT /api/v1/secrets/{name}")),
        });
    }
    faults
}

/// The same of all workflows of a set.
#[must_use]
pub fn missing_of(set: &[Defined], environment: &str, known: &Resolve) -> Vec<FileFault> {
    let mut faults = Vec::new();
    for Defined { path, definition } in set {
        let Definition::Workflow(workflow) = definition else {
            continue;
        };
        let missing = missing(&workflow.text, environment, known).into_iter();
        faults.extend(missing.map(|fault| FileFault {
            path: path.clone(),
            fault,
        }));
    }
    faults
}
