//! Finding the tasks of a definition by their references.

use std::sync::Arc;

use super::definition::{Definition, Kind, Task};

impl Definition {
    /// The task at a reference (RFC 6901 pointer), where there is one.
    #[must_use]
    pub fn task(&self, reference: &str) -> Option<&Arc<Task>> {
        let mut tasks = self.tasks.tasks.as_slice();
        let functions = self.functions.values().map(std::slice::from_ref);
        let mut inner: Vec<&[Arc<Task>]> = functions.collect();
        loop {
            let task = tasks.iter().find(|task| is_around(task, reference));
            match task {
                Some(task) if *task.reference == *reference => return Some(task),
                Some(task) => inner = inside(task),
                None => {}
            }
            tasks = inner.pop()?;
        }
    }
}

fn is_around(task: &Task, reference: &str) -> bool {
    reference
        .strip_prefix(&*task.reference)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn inside(task: &Task) -> Vec<&[Arc<Task>]> {
    let lists = match &task.kind {
        Kind::Do(list) => vec![&list.tasks],
        Kind::For(task) => vec![&task.body.tasks],
        Kind::Fork(fork) => vec![&fork.branches],
        Kind::Listen(listen) => listen.foreach.iter().map(|each| &each.body.tasks).collect(),
        Kind::Try(task) => {
            let recovery = task.recovery.as_ref().map(|list| &list.tasks);
            std::iter::once(&task.body.tasks).chain(recovery).collect()
        }
        // It has no list, only one task.
        Kind::Approval(task) => return task.notify.iter().map(std::slice::from_ref).collect(),
        Kind::Call(_)
        | Kind::Emit(_)
        | Kind::Function(_)
        | Kind::OpenApi(_)
        | Kind::Raise(_)
        | Kind::Set(_)
        | Kind::Switch(_)
        | Kind::Run(_)
        | Kind::Wait(_) => Vec::new(),
    };
    lists.into_iter().map(Vec::as_slice).collect()
}
