//! Walks over jq's syntax tree: what a term names, how deep it is, where its recursion is counted.
//!
//! `compile` and `prelude` use it. It changes nothing about what a term means.

use std::collections::HashSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

/// Powers of two as text: the parser's numbers are text, and a source cannot bind more.
const POWERS: [&str; 16] = [
    "1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024", "2048", "4096", "8192",
    "16384", "32768",
];

/// Calls `f` with each term directly below `term`, definitions' bodies included.
pub(super) fn children<'t, 's>(term: &'t Term<&'s str>, f: &mut dyn FnMut(&'t Term<&'s str>)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => parts.iter().for_each(|part| {
            if let StrPart::Term(term) = part {
                f(term);
            }
        }),
        Term::Arr(items) => items.iter().for_each(|items| f(items)),
        Term::Obj(members) => members.iter().for_each(|(key, value)| {
            f(key);
            value.iter().for_each(&mut *f);
        }),
        Term::Neg(term) | Term::Label(_, term) => f(term),
        Term::BinOp(l, op, r) => {
            f(l);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                pattern_terms(pattern, f);
            }
            f(r);
        }
        Term::Fold(_, source, pattern, arguments) => {
            f(source);
            pattern_terms(pattern, f);
            arguments.iter().for_each(f);
        }
        Term::TryCatch(body, catch) => {
            f(body);
            catch.iter().for_each(|catch| f(catch));
        }
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().for_each(|(condition, then)| {
                f(condition);
                f(then);
            });
            otherwise.iter().for_each(|otherwise| f(otherwise));
        }
        Term::Def(definitions, term) => {
            definitions
                .iter()
                .for_each(|definition| f(&definition.body));
            f(term);
        }
        Term::Call(_, arguments) => arguments.iter().for_each(f),
        Term::Path(term, path) => {
            f(term);
            path.0.iter().for_each(|(part, _)| match part {
                Part::Index(index) => f(index),
                Part::Range(from, to) => from.iter().chain(to).for_each(&mut *f),
            });
        }
    }
}

fn pattern_terms<'t, 's>(pattern: &'t Pattern<&'s str>, f: &mut dyn FnMut(&'t Term<&'s str>)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| pattern_terms(item, f)),
        Pattern::Obj(members) => members.iter().for_each(|(key, value)| {
            f(key);
            pattern_terms(value, f);
        }),
    }
}

/// What a term names, whether or not it defines that itself.
#[derive(Default)]
pub(super) struct Names<'s> {
    /// Functions and formats, by name only: their number of arguments does not matter here.
    pub(super) functions: HashSet<&'s str>,
    /// Variables, with the dollar sign.
    pub(super) variables: HashSet<&'s str>,
    /// Texts of string literals; of those with interpolations or escapes the part before the
    /// first one, marked `false`.
    pub(super) texts: Vec<(&'s str, bool)>,
}

impl<'s> Names<'s> {
    /// Adds what `term` names.
    pub(super) fn collect(&mut self, term: &Term<&'s str>) {
        match term {
            Term::Recurse => drop(self.functions.insert("recurse")),
            Term::Var(name) => drop(self.variables.insert(name)),
            Term::Call(name, _) | Term::Fold(name, ..) => drop(self.functions.insert(name)),
            Term::Str(format, parts) => {
                self.functions.extend(format);
                if let Some(StrPart::Str(text)) = parts.first() {
                    self.texts.push((text, parts.len() == 1));
                }
            }
            _ => {}
        }
        children(term, &mut |child| self.collect(child));
    }
}

/// True if `term` is at most `max` levels deep.
pub(super) fn at_most_deep(term: &Term<&str>, max: usize) -> bool {
    let mut fits = max > 0;
    children(term, &mut |child| {
        fits = fits && at_most_deep(child, max - 1)
    });
    fits
}

/// Puts a checkpoint before the body of every definition in `term`: a term without definitions
/// ends by itself, so recursion (and doubling by nested calls) always passes one. Arguments built
/// from the `parameters` of the definitions around them get one too: recursion makes of them a
/// chain of any length, and following it would pass none.
pub(super) fn with_checkpoints<'s>(term: Term<&'s str>, parameters: &[&'s str]) -> Term<&'s str> {
    let plain = |term| with_checkpoints(term, parameters);
    let boxed = |term: Box<Term<&'s str>>| Box::new(plain(*term));
    let all = |terms: Vec<Term<&'s str>>| terms.into_iter().map(plain).collect();
    match term {
        Term::Def(definitions, term) => {
            let checked = |definition| definition_with_checkpoint(definition, parameters);
            Term::Def(definitions.into_iter().map(checked).collect(), boxed(term))
        }
        Term::Str(format, parts) => {
            let part = |part| match part {
                StrPart::Term(term) => StrPart::Term(plain(term)),
                text => text,
            };
            Term::Str(format, parts.into_iter().map(part).collect())
        }
        Term::Arr(items) => Term::Arr(items.map(boxed)),
        Term::Obj(members) => {
            let member = |(key, value): (_, Option<_>)| (plain(key), value.map(plain));
            Term::Obj(members.into_iter().map(member).collect())
        }
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::BinOp(l, op, r) => Term::BinOp(boxed(l), op, boxed(r)),
        Term::Fold(kind, source, pattern, arguments) => {
            Term::Fold(kind, boxed(source), pattern, all(arguments))
        }
        Term::TryCatch(body, catch) => Term::TryCatch(boxed(body), catch.map(boxed)),
        Term::IfThenElse(branches, otherwise) => {
            let branch = |(condition, then)| (plain(condition), plain(then));
            Term::IfThenElse(
                branches.into_iter().map(branch).collect(),
                otherwise.map(boxed),
            )
        }
        Term::Call(name, arguments) => {
            let arguments = arguments.into_iter();
            Term::Call(name, arguments.map(|a| argument(a, parameters)).collect())
        }
        Term::Path(term, mut path) => {
            for (part, _) in &mut path.0 {
                let old = std::mem::replace(part, Part::Range(None, None));
                *part = match old {
                    Part::Index(index) => Part::Index(plain(index)),
                    Part::Range(from, to) => Part::Range(from.map(plain), to.map(plain)),
                };
            }
            Term::Path(boxed(term), path)
        }
        leaf @ (Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_)) => leaf,
    }
}

/// An argument of a call. jaq wraps it even where it is only a parameter passed on.
fn argument<'s>(term: Term<&'s str>, parameters: &[&'s str]) -> Term<&'s str> {
    let mut names = Names::default();
    if !parameters.is_empty() {
        names.collect(&term);
    }
    let checked = with_checkpoints(term, parameters);
    match parameters.iter().any(|name| names.functions.contains(name)) {
        true => after(Term::Call("__deeper", Vec::new()), checked),
        false => checked,
    }
}

/// `definition` with a checkpoint before its body: `__tick as $__t | body`. Where a call adds more
/// than that to jaq's list of bindings, it says how many: `4 | __ticks as $__t | body`.
pub(super) fn definition_with_checkpoint<'s>(
    definition: Def<&'s str, Term<&'s str>>,
    around: &[&'s str],
) -> Def<&'s str, Term<&'s str>> {
    let own = definition.args.iter().copied();
    let closures = own.map(|name| name.strip_prefix('$').unwrap_or(name));
    let parameters: Vec<&str> = around.iter().copied().chain(closures).collect();
    // A parameter with a dollar sign is bound twice: as a variable and as a function.
    let bound = definition
        .args
        .iter()
        .map(|name| 1 + usize::from(name.starts_with('$')));
    let links = bound.sum::<usize>() + bindings(&definition.body);
    let checkpoint = match links {
        0 => Term::Call("__tick", Vec::new()),
        links => {
            let at_least = links.next_power_of_two().trailing_zeros() as usize;
            let number = Term::Num(POWERS[at_least.min(POWERS.len() - 1)]);
            let ticks = Term::Call("__ticks", Vec::new());
            Term::BinOp(Box::new(number), BinaryOp::Pipe(None), Box::new(ticks))
        }
    };
    let body = after(checkpoint, with_checkpoints(definition.body, &parameters));
    Def { body, ..definition }
}

/// `checkpoint as $__t | term`.
fn after<'s>(checkpoint: Term<&'s str>, term: Term<&'s str>) -> Term<&'s str> {
    let bind = BinaryOp::Pipe(Some(Pattern::Var("$__t")));
    Term::BinOp(Box::new(checkpoint), bind, Box::new(term))
}

/// Variables and labels that `term` binds, at most; without the bodies of definitions.
fn bindings(term: &Term<&str>) -> usize {
    let own = match term {
        Term::Label(..) => 1,
        Term::BinOp(_, BinaryOp::Pipe(Some(pattern)), _) | Term::Fold(_, _, pattern, _) => {
            variables(pattern)
        }
        Term::Def(_, term) => return bindings(term),
        _ => 0,
    };
    let mut below = 0;
    children(term, &mut |child| below += bindings(child));
    own + below
}

fn variables(pattern: &Pattern<&str>) -> usize {
    match pattern {
        Pattern::Var(_) => 1,
        Pattern::Arr(items) => items.iter().map(variables).sum(),
        Pattern::Obj(members) => members.iter().map(|(_, value)| 1 + variables(value)).sum(),
    }
}
