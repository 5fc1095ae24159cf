//! How long properties of hostile input are tried: few cases here, as many as wanted by hand.
//!
//! `PROPTEST_CASES=1000000 cargo test --test it hostile` takes minutes rather than moments.

use proptest::prelude::ProptestConfig;

/// So many cases, unless `PROPTEST_CASES` says another number.
pub fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked = asked.and_then(|number| number.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}
