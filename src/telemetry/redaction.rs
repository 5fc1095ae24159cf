//! The hook through which every log line passes. `telemetry` stands below `secret`, so `server`
//! puts the live redactor here; until then nothing is hidden, since nothing secret is known.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwapOption;

type Redact = dyn for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync;

static PROCESS: LazyLock<Redaction> = LazyLock::new(Redaction::default);

/// A place for a function that hides secrets in a text; clones share it.
#[derive(Clone, Default)]
pub struct Redaction(Arc<ArcSwapOption<Box<Redact>>>);

impl Redaction {
    /// The one the process logs through, filled by [`set_redactor`].
    #[must_use]
    pub fn of_process() -> Self {
        PROCESS.clone()
    }

    /// Takes a function in place of the present one; lines written from now on pass it.
    pub fn set(&self, redact: impl for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync + 'static) {
        self.0.store(Some(Arc::new(Box::new(redact))));
    }

    /// The text with secrets hidden.
    pub(super) fn apply(&self, text: String) -> String {
        let redacted = match self.0.load().as_deref() {
            None => return text,
            Some(redact) => match redact(&text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(redacted) => Some(redacted),
            },
        };
        redacted.unwrap_or(text)
    }
}

/// Lets every log line of the process pass this function, which replaces live secret values.
pub fn set_redactor(redact: impl for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync + 'static) {
    PROCESS.set(redact);
}
