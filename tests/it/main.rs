//! All integration tests, one binary; modules stand in the order of the journey.

mod document;
mod expression;
mod trigger;
mod workflow;
