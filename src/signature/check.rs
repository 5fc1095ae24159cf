//! Checks: a value of the delivery against what it must be.
//!
//! One mechanism for plain tokens, hashes that a token claims, versions, allow-lists and echoes.
//! Called by leaves and handshakes. Comparisons take constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use regex::Regex;

use super::Keys;
use super::key::is_blank;
use super::template::{Absent, Scope, Template};
use super::view::View;

/// One entry of `checks:`.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub value: Template,
    pub rule: Rule,
    pub when: When,
}

/// What the value must be.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    Equals(Template),
    /// One of the values in force of this secret or parameter.
    In(String),
    /// The whole of it is of this form.
    Matches(Regex),
}

/// Whether a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Where the value is there.
    Present,
    /// Where the secret or parameter that it is compared with is set.
    Configured,
    /// Where the value is there or there is a body.
    Body,
    /// Where the value is there or there is a body other than a form.
    NotForm,
}

impl When {
    pub const WORDS: &[(&str, Self)] = &[
        ("always", Self::Always),
        ("present", Self::Present),
        ("configured", Self::Configured),
        ("body", Self::Body),
        ("notForm", Self::NotForm),
    ];
}

impl Check {
    /// Whether it holds, or need not be made.
    ///
    /// # Errors
    /// Where the value is not there and must be.
    pub fn holds(
        &self,
        view: &View<'_>,
        scope: &Scope<'_>,
        keys: &dyn Keys,
    ) -> Result<bool, Absent> {
        let value = self.value.bytes(view, scope);
        let body = !view.delivery.body.is_empty();
        let needed = match self.when {
            When::Always => true,
            When::Present => value.is_ok(),
            When::Configured => self.is_configured(keys),
            When::Body => value.is_ok() || body,
            When::NotForm => value.is_ok() || (body && !view.is_form()),
        };
        if !needed {
            return Ok(true);
        }
        let value = value?;
        Ok(match &self.rule {
            Rule::Equals(template) => {
                let expected = template.bytes(view, scope);
                expected.is_ok_and(|expected| same(&expected, &value))
            }
            Rule::In(name) => {
                let values = keys.values(name).into_iter();
                let values = values.filter(|known| !is_blank(known));
                values.filter(|known| same(known, &value)).count() > 0
            }
            Rule::Matches(pattern) => {
                std::str::from_utf8(&value).is_ok_and(|text| pattern.is_match(text))
            }
        })
    }

    /// The secrets it compares with.
    pub fn secrets(&self) -> Vec<&str> {
        match &self.rule {
            Rule::Equals(template) => template.secrets().collect(),
            Rule::In(name) => vec![name],
            Rule::Matches(_) => Vec::new(),
        }
    }

    fn is_configured(&self, keys: &dyn Keys) -> bool {
        let mut names = self.secrets().into_iter();
        names.any(|name| keys.values(name).iter().any(|value| !is_blank(value)))
    }
}

fn same(expected: &[u8], value: &[u8]) -> bool {
    verify_slices_are_equal(expected, value).is_ok()
}
