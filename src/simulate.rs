//! Rehearsals: a run as it is, with scripted hands and a clock of its own, or with real ones.
//!
//! [`parse`] reads a `*.test.yaml`, [`Stage`] holds the definitions it is played against, and
//! [`rehearse`] plays one case: the run decides as always, answers come from the script, and time
//! jumps to whatever comes next, so that a month passes in no time. [`perform`] drives a run in
//! memory against the real destinations. Nothing here is stored, and nothing is random.

mod answers;
mod arrivals;
mod children;
mod decisions;
mod document;
mod drive;
mod expected;
mod network;
mod rehearsal;
mod stage;
mod verdict;

pub use document::{Case, Suite, parse};
pub use drive::Played;
pub use network::perform;
pub use rehearsal::{Call, rehearse};
pub use stage::Stage;
pub use verdict::{Mismatch, Verdict};
