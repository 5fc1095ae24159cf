//! jq's functions that are written in jq: jaq's own and ours, parsed once.
//!
//! `compile` takes from it what an expression needs and no more: a filter over all of it would
//! take twenty times the memory and most of the time.

use std::collections::HashSet;
use std::sync::LazyLock;

use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{self};

use super::functions;
use super::syntax::{Names, definition_with_checkpoint};

type Definition = Def<&'static str, Term<&'static str>>;

/// Not defined: they write to the server's log, or end its process.
const ABSENT: [&str; 4] = ["halt", "halt_error", "debug", "stderr"];

/// Used by the interpreter, or by every checkpoint, without being named.
const ALWAYS: [&str; 6] = ["__tick", "__ticks", "__deeper", "not", "empty", "error"];

struct Known {
    definition: Definition,
    /// The functions its body names.
    functions: Vec<&'static str>,
    texts: Vec<&'static str>,
}

/// In order: a definition sees those before it, and the last one of a name counts.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let parse = |text| {
        let definitions: Option<Vec<Definition>> = load::parse(text, |p| p.defs());
        definitions.expect("it is part of the program, and a test compiles all of it")
    };
    let (base, prelude) = (
        parse(include_str!("base.jq")),
        parse(include_str!("prelude.jq")),
    );
    let signature = |definition: &Definition| (definition.name, definition.args.len());
    let mut replaced: HashSet<_> = base.iter().chain(&prelude).map(signature).collect();
    replaced.extend(functions::ours_replace());
    let kept = |definition: &Definition| {
        !ABSENT.contains(&definition.name) && !replaced.contains(&signature(definition))
    };
    let core = jaq_core::defs().filter(kept);
    let rest = jaq_std::defs().chain(jaq_json::defs()).filter(kept);
    core.chain(base)
        .chain(rest)
        .chain(prelude)
        .map(known)
        .collect()
});

fn known(definition: Definition) -> Known {
    let mut names = Names::default();
    names.collect(&definition.body);
    // Only what calls itself can go on without end.
    let recursive = defines_recursion(&definition);
    let definition = if recursive {
        definition_with_checkpoint(definition, &[])
    } else {
        definition
    };
    Known {
        definition,
        functions: names.functions.into_iter().collect(),
        texts: names
            .texts
            .into_iter()
            .filter(|t| t.1)
            .map(|t| t.0)
            .collect(),
    }
}

fn defines_recursion(definition: &Definition) -> bool {
    let mut names = Names::default();
    names.collect(&definition.body);
    let mut inner = false;
    has_definitions(&definition.body, &mut inner);
    inner || names.functions.contains(definition.name)
}

fn has_definitions(term: &Term<&'static str>, found: &mut bool) {
    *found |= matches!(term, Term::Def(..));
    super::syntax::children(term, &mut |child| has_definitions(child, found));
}

/// The definitions that `needed` reaches, in order; `needed` grows to all names they use, and
/// `texts` to the literals in them.
pub(super) fn reached(
    needed: &mut HashSet<&str>,
    texts: &mut HashSet<&'static str>,
) -> Vec<Definition> {
    needed.extend(ALWAYS);
    let mut kept = Vec::new();
    for known in KNOWN.iter().rev() {
        if needed.contains(known.definition.name) {
            needed.extend(&known.functions);
            texts.extend(&known.texts);
            kept.push(known.definition.clone());
        }
    }
    kept.reverse();
    kept
}

/// Every function defined here, with its number of arguments.
pub(super) fn names() -> impl Iterator<Item = (&'static str, usize)> {
    KNOWN
        .iter()
        .map(|known| (known.definition.name, known.definition.args.len()))
}
