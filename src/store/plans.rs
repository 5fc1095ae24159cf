//! Statements for the plan tests.
