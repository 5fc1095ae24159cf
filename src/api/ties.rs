//! How a run hangs together with others, as it is shown.

use serde::Serialize;

use crate::id::Id;
use crate::worker::origin::Ties;

/// What a run says of the others it belongs to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownTies {
    /// The run it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<ShownReplay>,
    /// The run that started it as a sub-workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ShownParent>,
}

#[derive(Serialize)]
struct ShownReplay {
    run: Id,
    from: Option<String>,
}

#[derive(Serialize)]
struct ShownParent {
    run: Id,
    task: String,
    awaits: bool,
}

impl From<Ties> for ShownTies {
    fn from(ties: Ties) -> Self {
        Self {
            replay_of: ties.replay_of.map(|(run, from)| ShownReplay { run, from }),
            parent: ties.parent.map(|parent| ShownParent {
                run: parent.run_id,
                task: parent.reference,
                awaits: parent.awaits,
            }),
        }
    }
}
