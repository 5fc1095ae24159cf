//! All integration tests, one binary; modules stand in the order of the journey.

mod document;
mod workflow;
