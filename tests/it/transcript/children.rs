//! The sub-workflows of a run that is lived: scripted like its calls, by `namespace/name/version`.

use hookwright::run::{Change, Entry, Errand, Outcome};
use jiff::SignedDuration;

use super::{Life, text};

impl Life {
    /// Another run is to do something.
    pub(super) fn carry_out(&mut self, errand: &Errand) {
        let id = match errand {
            Errand::Start { child, .. } => child.run_id,
            Errand::Cancel(child) => *child,
        };
        let known = self.children.iter().position(|(_, child, _)| *child == id);
        if let (Errand::Cancel(_), Some(at)) = (errand, known) {
            self.children.remove(at);
            self.say("  cancels its sub-workflow");
        }
    }

    /// Starts the sub-workflows the run wants; false where there is none.
    pub(super) fn start_children(&mut self) -> bool {
        let starts = self.run.starts();
        for child in &starts {
            let name = format!("{}/{}/{}", child.namespace, child.name, child.version);
            let reply = self.reply(&name);
            let at = self.now() + SignedDuration::from_millis(reply.after_ms);
            let mut line = format!("  run {name} {}", text(&child.input));
            if !child.awaited {
                line.push_str(" and go on");
            }
            self.say(&line);
            self.children.push((at, child.run_id, reply));
            let change = Change::ChildStarted {
                key: child.key.clone(),
                child: child.run_id,
                workflow_id: 1,
            };
            let at = self.now();
            self.apply(Entry { at, change });
        }
        !starts.is_empty()
    }

    /// A sub-workflow ends.
    pub(super) fn end_child(&mut self, place: usize) {
        let (at, child, reply) = self.children.remove(place);
        let outcome = reply.outcome;
        let word = match &outcome {
            Outcome::Completed(_) => "its sub-workflow completed".to_owned(),
            Outcome::Faulted(problem) => format!("its sub-workflow faulted {}", problem.status),
        };
        let change = Change::ChildEnded { child, outcome };
        self.apply(Entry { at, change });
        self.say(&word);
    }
}
