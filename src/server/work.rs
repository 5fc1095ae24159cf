//! The runtime on which definitions are compiled and expressions evaluated.
//!
//! Its threads have large stacks, and it is apart from the one that receives, so that a costly
//! expression delays runs but never an acknowledgement.

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// Stack of a thread, in bytes; only what is used takes memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// The runtime; ends in the background when dropped, which may be in the middle of other tasks.
pub struct Work(Option<Runtime>);

impl Work {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn start(threads: usize) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_stack_size(STACK_BYTES)
            .thread_name("work")
            .enable_all()
            .build()
            .context("the threads for expressions could not be started")?;
        Ok(Self(Some(runtime)))
    }

    /// Where tasks are spawned.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
