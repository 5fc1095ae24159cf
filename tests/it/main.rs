//! All integration tests, one binary; modules stand in the order of the journey.

mod document;
mod workflow;
//! All integration tests, one module per area, in one binary.

mod expression;
