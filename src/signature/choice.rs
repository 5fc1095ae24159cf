//! A word of the grammar that the document fixes, or that a value picks from a list it allows.
//!
//! Some senders name the algorithm in the delivery, some let the customer choose it. Either way
//! only what the document lists can be picked; anything else refuses the delivery.

use super::template::{Scope, Template};
use super::view::View;

#[derive(Clone, Debug)]
pub(super) enum Choice<T> {
    Fixed(T),
    Mapped {
        from: Template,
        map: Vec<(String, T)>,
        /// What counts where the value is absent; never where it is unknown.
        default: Option<T>,
    },
}

impl<T: Copy> Choice<T> {
    /// None where the value is not in the list.
    pub fn pick(&self, view: &View<'_>, scope: &Scope<'_>) -> Option<T> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Mapped { from, map, default } => match from.text(view, scope) {
                None => *default,
                Some(text) => map
                    .iter()
                    .find(|(word, _)| *word == text)
                    .map(|(_, value)| *value),
            },
        }
    }

    /// The value to sign samples with.
    pub fn usual(&self) -> Option<T> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Mapped { map, default, .. } => default.or_else(|| Some(map.first()?.1)),
        }
    }
}
