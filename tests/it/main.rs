//! All integration tests, one module per area, in one binary; in the order of the journey.

mod document;
mod workflow;
mod expression;
mod transcript;
mod run;
mod run_catch;
mod run_journal;
mod replay;
