//! Evaluates a [`Program`] on references; gives up where jaq has to decide.
//!
//! A term's result is borrowed from the input as long as it can be, so that a path costs a few
//! look-ups and a comparison no allocation at all.

use std::borrow::Cow;
use std::cell::Cell;

use jaq_core::ops::{Cmp, Math};
use jaq_json::{Map, Num, Val};

use super::{Function, Node, Program, Step};
use crate::expression::functions;
use crate::expression::metered::Metered;
use crate::expression::value::{kind, text};
use crate::expression::{json, limits};

/// Terms evaluated before jaq, which bounds time, takes over: some 10 milliseconds.
const TERMS_MAX: u64 = 500_000;

/// Bytes allocated before jaq takes over.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// With less stack left than this jaq takes over: it makes itself a new one.
const STACK_BYTES_MIN: usize = 512 * 1024;

/// Jaq has to evaluate this.
struct GiveUp;

type Result<T> = std::result::Result<T, GiveUp>;

struct Budget<'v> {
    variables: &'v [Val],
    terms: Cell<u64>,
    bytes: Cell<usize>,
}

/// The bindings around a term, innermost first.
#[derive(Clone, Copy)]
struct Locals<'e> {
    value: &'e Val,
    outer: Option<&'e Locals<'e>>,
}

type Bound<'e> = Option<&'e Locals<'e>>;

impl Budget<'_> {
    fn tick(&self) -> Result<()> {
        self.terms
            .set(self.terms.get().checked_sub(1).ok_or(GiveUp)?);
        Ok(())
    }

    fn charge(&self, bytes: usize) -> Result<()> {
        self.bytes
            .set(self.bytes.get().checked_sub(bytes).ok_or(GiveUp)?);
        Ok(())
    }
}

impl Program {
    /// The result, or none where jaq has to evaluate it.
    pub(in crate::expression) fn run(&self, input: &Val, variables: &[Val]) -> Option<Val> {
        if stacker::remaining_stack().is_none_or(|bytes| bytes < STACK_BYTES_MIN) {
            return None;
        }
        let budget = Budget {
            variables,
            terms: Cell::new(TERMS_MAX),
            bytes: Cell::new(BYTES_MAX),
        };
        let result = match self.main.is_single() {
            true => self.main.one(input, None, &budget).ok()?.into_owned(),
            false => only(&self.main, input, &budget).ok()?,
        };
        let fits = self.parts_only || crate::expression::too_large(&result).is_none();
        fits.then_some(result)
    }
}

/// The only result of a term that may have several; null where it has none.
fn only(main: &Node, input: &Val, budget: &Budget<'_>) -> Result<Val> {
    let mut first = None;
    main.each(input, None, budget, &mut |value| match first {
        None => {
            first = Some(value.into_owned());
            Ok(())
        }
        Some(_) => Err(GiveUp),
    })?;
    Ok(first.unwrap_or(Val::Null))
}

fn is_truthy(value: &Val) -> bool {
    !matches!(value, Val::Null | Val::Bool(false))
}

impl Node {
    /// The result of a single term.
    fn one<'a>(
        &'a self,
        input: &'a Val,
        bound: Bound<'a>,
        budget: &'a Budget<'a>,
    ) -> Result<Cow<'a, Val>> {
        budget.tick()?;
        let owned = |value| Ok(Cow::Owned(value));
        match self {
            Self::Input => Ok(Cow::Borrowed(input)),
            Self::Constant(value) => Ok(Cow::Borrowed(value)),
            Self::Variable(number) => Ok(Cow::Borrowed(&budget.variables[*number])),
            Self::Local(outwards) => local(bound, *outwards),
            Self::Path(base, steps) => match base.one(input, bound, budget)? {
                Cow::Borrowed(base) => walk(base, steps, input, bound, budget).map(Cow::Borrowed),
                Cow::Owned(base) => owned(walk(&base, steps, input, bound, budget)?.clone()),
            },
            Self::Pipe(l, r) => match l.one(input, bound, budget)? {
                Cow::Borrowed(value) => r.one(value, bound, budget),
                Cow::Owned(value) => owned(r.one(&value, bound, budget)?.into_owned()),
            },
            Self::Bind(l, r) => {
                let value = l.one(input, bound, budget)?;
                let bound = Locals {
                    value: &value,
                    outer: bound,
                };
                owned(r.one(input, Some(&bound), budget)?.into_owned())
            }
            Self::Object(members) => object(members, input, bound, budget).map(Cow::Owned),
            Self::Array(items) => array(items.as_deref(), input, bound, budget).map(Cow::Owned),
            Self::Text(parts) => interpolate(parts, input, bound, budget).map(Cow::Owned),
            Self::If(branches, otherwise) => {
                Self::branch(branches, otherwise, input, bound, budget)?.one(input, bound, budget)
            }
            Self::Compare(op, l, r) => {
                let (l, r) = (l.one(input, bound, budget)?, r.one(input, bound, budget)?);
                owned(Val::Bool(compare(*op, &l, &r)?))
            }
            Self::Math(op, l, r) => {
                let (l, r) = (l.one(input, bound, budget)?, r.one(input, bound, budget)?);
                calculate(*op, l, r, budget).map(Cow::Owned)
            }
            Self::And(l, r) => {
                let l = is_truthy(&*l.one(input, bound, budget)?);
                owned(Val::Bool(l && is_truthy(&*r.one(input, bound, budget)?)))
            }
            Self::Or(l, r) => {
                let l = is_truthy(&*l.one(input, bound, budget)?);
                owned(Val::Bool(l || is_truthy(&*r.one(input, bound, budget)?)))
            }
            Self::Alternative(l, r) => match l.one(input, bound, budget)? {
                value if is_truthy(&value) => Ok(value),
                _ => r.one(input, bound, budget),
            },
            Self::Call(function, arguments) => {
                let argument = match arguments.first() {
                    Some(argument) => argument.one(input, bound, budget)?,
                    None => Cow::Owned(Val::Null),
                };
                call(*function, input, &argument, budget).map(Cow::Owned)
            }
            Self::Comma(..) | Self::Select(_) | Self::Empty | Self::Error => Err(GiveUp),
        }
    }

    fn branch<'a>(
        branches: &'a [(Node, Node)],
        otherwise: &'a Node,
        input: &Val,
        bound: Bound<'_>,
        budget: &Budget<'_>,
    ) -> Result<&'a Node> {
        for (condition, then) in branches {
            if is_truthy(&*condition.one(input, bound, budget)?) {
                return Ok(then);
            }
        }
        Ok(otherwise)
    }

    /// Calls `out` with each result in order.
    fn each(
        &self,
        input: &Val,
        bound: Bound<'_>,
        budget: &Budget<'_>,
        out: &mut dyn FnMut(Cow<'_, Val>) -> Result<()>,
    ) -> Result<()> {
        if self.is_single() {
            return out(self.one(input, bound, budget)?);
        }
        budget.tick()?;
        match self {
            Self::Empty => Ok(()),
            Self::Comma(l, r) => {
                l.each(input, bound, budget, out)?;
                r.each(input, bound, budget, out)
            }
            Self::Pipe(l, r) => l.each(input, bound, budget, &mut |value| {
                r.each(&value, bound, budget, out)
            }),
            Self::Bind(l, r) => l.each(input, bound, budget, &mut |value| {
                let bound = Locals {
                    value: &value,
                    outer: bound,
                };
                r.each(input, Some(&bound), budget, out)
            }),
            Self::Select(condition) => match is_truthy(&*condition.one(input, bound, budget)?) {
                true => out(Cow::Borrowed(input)),
                false => Ok(()),
            },
            Self::If(branches, otherwise) => {
                let then = Self::branch(branches, otherwise, input, bound, budget)?;
                then.each(input, bound, budget, out)
            }
            Self::Alternative(l, r) => match l.one(input, bound, budget)? {
                value if is_truthy(&value) => out(value),
                _ => r.each(input, bound, budget, out),
            },
            Self::Path(base, steps) => base.each(input, bound, budget, &mut |value| {
                spread(
                    &value,
                    steps,
                    &Around {
                        input,
                        bound,
                        budget,
                    },
                    out,
                )
            }),
            _ => Err(GiveUp),
        }
    }
}

/// What the indices of a path are computed from.
struct Around<'a> {
    input: &'a Val,
    bound: Bound<'a>,
    budget: &'a Budget<'a>,
}

fn spread(
    at: &Val,
    steps: &[Step],
    around: &Around<'_>,
    out: &mut dyn FnMut(Cow<'_, Val>) -> Result<()>,
) -> Result<()> {
    let each = steps
        .iter()
        .position(|step| matches!(step, Step::Each))
        .unwrap_or(steps.len());
    let (before, after) = steps.split_at(each);
    let at = walk(at, before, around.input, around.bound, around.budget)?;
    let Some((_, after)) = after.split_first() else {
        return out(Cow::Borrowed(at));
    };
    match at {
        Val::Arr(items) => items
            .iter()
            .try_for_each(|item| spread(item, after, around, out)),
        Val::Obj(members) => members
            .values()
            .try_for_each(|member| spread(member, after, around, out)),
        _ => Err(GiveUp),
    }
}

fn local<'a>(bound: Bound<'a>, outwards: usize) -> Result<Cow<'a, Val>> {
    let mut bound = bound.ok_or(GiveUp)?;
    for _ in 0..outwards {
        bound = bound.outer.ok_or(GiveUp)?;
    }
    Ok(Cow::Borrowed(bound.value))
}

fn walk<'v>(
    base: &'v Val,
    steps: &[Step],
    input: &Val,
    bound: Bound<'_>,
    budget: &Budget<'_>,
) -> Result<&'v Val> {
    let mut at = base;
    for step in steps {
        budget.tick()?;
        at = match step {
            Step::Member(key) => member(at, key)?,
            Step::Item(number) => item(at, *number)?,
            Step::Computed(index) => match &*index.one(input, bound, budget)? {
                key @ Val::TStr(_) => member(at, key)?,
                Val::Num(Num::Int(number)) => item(at, *number)?,
                _ => return Err(GiveUp),
            },
            Step::Each => return Err(GiveUp),
        };
    }
    Ok(at)
}

fn member<'v>(at: &'v Val, key: &Val) -> Result<&'v Val> {
    match at {
        Val::Obj(members) => Ok(members.get(key).unwrap_or(&Val::Null)),
        Val::Null => Ok(&Val::Null),
        _ => Err(GiveUp),
    }
}

fn item(at: &Val, number: isize) -> Result<&Val> {
    match at {
        Val::Arr(items) => {
            let number = match number {
                0.. => Some(number.unsigned_abs()),
                _ => items.len().checked_sub(number.unsigned_abs()),
            };
            Ok(number.and_then(|n| items.get(n)).unwrap_or(&Val::Null))
        }
        Val::Null => Ok(&Val::Null),
        _ => Err(GiveUp),
    }
}

fn object(
    members: &[(Node, Node)],
    input: &Val,
    bound: Bound<'_>,
    budget: &Budget<'_>,
) -> Result<Val> {
    budget.charge(64 + 48 * members.len())?;
    let mut map = Map::with_capacity_and_hasher(members.len(), Default::default());
    for (key, value) in members {
        let key = key.one(input, bound, budget)?;
        if !matches!(*key, Val::TStr(_)) {
            return Err(GiveUp);
        }
        map.insert(
            key.into_owned(),
            value.one(input, bound, budget)?.into_owned(),
        );
    }
    Ok(Val::obj(map))
}

fn array(items: Option<&Node>, input: &Val, bound: Bound<'_>, budget: &Budget<'_>) -> Result<Val> {
    let mut collected = Vec::new();
    if let Some(items) = items {
        items.each(input, bound, budget, &mut |item| {
            budget.charge(16)?;
            collected.push(item.into_owned());
            Ok(())
        })?;
    }
    Ok(Val::Arr(collected.into()))
}

fn interpolate(parts: &[Node], input: &Val, bound: Bound<'_>, budget: &Budget<'_>) -> Result<Val> {
    let mut out = Vec::new();
    for part in parts {
        match &*part.one(input, bound, budget)? {
            Val::TStr(text) => out.extend_from_slice(text),
            Val::Arr(_) | Val::Obj(_) | Val::BStr(_) => return Err(GiveUp),
            scalar => json::write(scalar, &mut out),
        }
    }
    budget.charge(out.len())?;
    Ok(Val::utf8_str(out))
}

fn compare(op: Cmp, l: &Val, r: &Val) -> Result<bool> {
    let empty = |value: &Val| match value {
        Val::Arr(items) => Some(items.is_empty()),
        Val::Obj(members) => Some(members.is_empty()),
        _ => None,
    };
    if kind(l) == kind(r)
        && let (Some(l), Some(r)) = (empty(l), empty(r))
    {
        return match op {
            Cmp::Eq if l || r => Ok(l == r),
            Cmp::Ne if l || r => Ok(l != r),
            _ => Err(GiveUp),
        };
    }
    Ok(match op {
        Cmp::Eq => l == r,
        Cmp::Ne => l != r,
        Cmp::Lt => l < r,
        Cmp::Le => l <= r,
        Cmp::Gt => l > r,
        Cmp::Ge => l >= r,
    })
}

fn calculate(op: Math, l: Cow<'_, Val>, r: Cow<'_, Val>, budget: &Budget<'_>) -> Result<Val> {
    let size = |value: &Val| match value {
        Val::Null | Val::Bool(_) => Ok(0),
        Val::Num(Num::Int(_) | Num::Float(_) | Num::Dec(_)) => Ok(0),
        Val::Num(Num::BigInt(_)) | Val::BStr(_) => Err(GiveUp),
        Val::TStr(text) => Ok(text.len()),
        Val::Arr(items) => Ok(16 * items.len()),
        Val::Obj(members) => Ok(48 * members.len()),
    };
    budget.charge(size(&l)? + size(&r)?)?;
    let numbers = matches!((&*l, &*r), (Val::Num(_), Val::Num(_)));
    match op {
        Math::Add => (l.into_owned() + r.into_owned()).map_err(|_| GiveUp),
        Math::Sub if numbers => (l.into_owned() - r.into_owned()).map_err(|_| GiveUp),
        Math::Mul if numbers => (l.into_owned() * r.into_owned()).map_err(|_| GiveUp),
        Math::Div if numbers => (Metered(l.into_owned()) / Metered(r.into_owned()))
            .map(|m| m.0)
            .map_err(|_| GiveUp),
        _ => Err(GiveUp),
    }
}

fn call(function: Function, input: &Val, argument: &Val, budget: &Budget<'_>) -> Result<Val> {
    use Function as F;
    let ours = |result: jaq_core::ValR<Metered>| result.map(|m| m.0).map_err(|_| GiveUp);
    if let Val::TStr(text) = input {
        budget.charge(text.len())?;
    }
    match (function, input, argument) {
        (F::Not, value, _) => Ok(Val::Bool(!is_truthy(value))),
        (F::Type, value, _) => Ok(text(kind(value))),
        (F::Length, value, _) => ours(functions::length(Metered(value.clone()))),
        (F::ToNumber, value, _) => ours(functions::to_number(Metered(value.clone()))),
        (F::ToString, value @ Val::TStr(_), _) => Ok(value.clone()),
        (F::ToString, Val::Null | Val::Bool(_) | Val::Num(_), _) => {
            let mut out = Vec::new();
            json::write(input, &mut out);
            Ok(Val::utf8_str(out))
        }
        (F::FromJson, Val::TStr(text), _) => {
            budget.charge(text.len() * 8)?;
            json::read(text, limits().depth_max).map_err(|_| GiveUp)
        }
        (F::Has, value, key) => ours(functions::has(value, key)),
        (F::Join, value @ Val::Arr(items), separator) => {
            budget.charge(items.len() * 16)?;
            ours(functions::join(value, separator))
        }
        (F::AsciiDowncase, Val::TStr(text), _) => Ok(Val::utf8_str(text.to_ascii_lowercase())),
        (F::AsciiUpcase, Val::TStr(text), _) => Ok(Val::utf8_str(text.to_ascii_uppercase())),
        (F::StartsWith, Val::TStr(text), Val::TStr(part)) => Ok(text.starts_with(part).into()),
        (F::EndsWith, Val::TStr(text), Val::TStr(part)) => Ok(text.ends_with(part).into()),
        (F::LTrimStr, Val::TStr(text), Val::TStr(part)) => match text.strip_prefix(&***part) {
            Some(rest) => Ok(Val::utf8_str(text.slice_ref(rest))),
            None => Ok(input.clone()),
        },
        (F::RTrimStr, Val::TStr(text), Val::TStr(part)) => match text.strip_suffix(&***part) {
            Some(rest) => Ok(Val::utf8_str(text.slice_ref(rest))),
            None => Ok(input.clone()),
        },
        (F::Split, Val::TStr(text), Val::TStr(_)) => {
            budget.charge(text.len() * 17)?;
            (input.clone() / argument.clone()).map_err(|_| GiveUp)
        }
        (F::Keys, Val::Obj(members), _) => {
            budget.charge(16 * members.len())?;
            let mut keys: Vec<Val> = members.keys().cloned().collect();
            keys.sort();
            Ok(Val::Arr(keys.into()))
        }
        (F::ToEntries, Val::Obj(members), _) => {
            budget.charge(300 * members.len())?;
            let entry = |(key, value): (&Val, &Val)| {
                let members = [(text("key"), key.clone()), (text("value"), value.clone())];
                Val::obj(members.into_iter().collect())
            };
            Ok(members.iter().map(entry).collect())
        }
        (F::Add, Val::Arr(items), _) => items.iter().try_fold(Val::Null, |sum, item| {
            budget.tick()?;
            calculate(Math::Add, Cow::Owned(sum), Cow::Borrowed(item), budget)
        }),
        _ => Err(GiveUp),
    }
}
