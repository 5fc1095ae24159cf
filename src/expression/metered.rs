//! The value jq's interpreter works on: a `Val` that counts what is done with it.
//!
//! `compile` builds filters over it, `functions` adds natives. Every clone burns fuel, every
//! growth is charged in bytes, and operators follow jq where jaq does not (updates through null,
//! division by zero). Its `Display` prints a type name: jaq puts values into its error messages,
//! and no error of ours may carry data.

mod compare;
mod operators;

use std::cell::RefCell;
use std::fmt;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::val::Range;
use jaq_core::{Error, Exn, ValR, ValT, ValX, path};
use jaq_json::{Map, Num, Rc, Val};

use super::budget::{charge, scan, tick};
use super::json;
use super::value::kind;
pub(super) use compare::{compare, equal};

/// What a container costs beyond its items, in bytes.
const CONTAINER_BYTES: usize = 64;
/// What a container of containers costs: this bounds how deep an evaluation can nest values, and
/// so the stack that comparing and dropping them takes.
const NESTING_BYTES: usize = 512;
const ITEM_BYTES: usize = 16;
const MEMBER_BYTES: usize = 48;
/// What a step into a value costs: jaq keeps the path to it in a linked list that it drops
/// recursively, and this bounds its length.
const STEP_BYTES: usize = 64;

/// What filters are compiled for.
pub(super) type Data = jaq_core::data::JustLut<Metered>;

#[derive(Debug, Default)]
pub(super) struct Metered(pub(super) Val);

impl Clone for Metered {
    #[inline]
    fn clone(&self) -> Self {
        tick();
        Self(self.0.clone())
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(kind(&self.0))
    }
}

/// An error whose text is ours.
pub(super) fn error(text: impl fmt::Display) -> Error<Metered> {
    Error::str(text)
}

/// JSON text written within the budget.
#[derive(Default)]
struct MeteredText(Vec<u8>);

impl json::Sink for MeteredText {
    fn put(&mut self, bytes: &[u8]) {
        charge(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

/// The JSON text of a value, as a value.
pub(super) fn to_json(value: &Val) -> Metered {
    let mut out = MeteredText::default();
    json::write(value, &mut out);
    Metered(Val::utf8_str(out.0))
}

/// Bytes a value holds itself, without what its items hold.
pub(super) fn size(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => CONTAINER_BYTES + items.len() * ITEM_BYTES,
        Val::Obj(members) => CONTAINER_BYTES + members.len() * MEMBER_BYTES,
        Val::Num(Num::BigInt(i)) => (i.bits() / 8) as usize,
        Val::Num(Num::Dec(digits)) => digits.len(),
        _ => ITEM_BYTES,
    }
}

/// What changing a value in place copies: all of it where it is shared, nothing where it is not.
fn copied(value: &Val) -> usize {
    let shared = match value {
        Val::Arr(items) => Rc::strong_count(items) > 1,
        Val::Obj(members) => Rc::strong_count(members) > 1,
        _ => false,
    };
    if shared { size(value) } else { 0 }
}

fn is_container(value: &Val) -> bool {
    matches!(value, Val::Arr(_) | Val::Obj(_))
}

fn charge_nesting(value: &Val) {
    if is_container(value) {
        charge(NESTING_BYTES);
    }
}

impl From<bool> for Metered {
    fn from(b: bool) -> Self {
        Self(b.into())
    }
}

impl From<isize> for Metered {
    fn from(n: isize) -> Self {
        Self(n.into())
    }
}

impl From<usize> for Metered {
    fn from(n: usize) -> Self {
        Self(n.into())
    }
}

impl From<f64> for Metered {
    fn from(n: f64) -> Self {
        Self(n.into())
    }
}

impl From<String> for Metered {
    fn from(s: String) -> Self {
        charge(s.len());
        Self(super::value::text(s))
    }
}

impl From<Range<Metered>> for Metered {
    fn from(r: Range<Metered>) -> Self {
        Self(Val::from(r.start.map(|v| v.0)..r.end.map(|v| v.0)))
    }
}

impl FromIterator<Metered> for Metered {
    fn from_iter<T: IntoIterator<Item = Metered>>(items: T) -> Self {
        charge(CONTAINER_BYTES);
        let mut nested = false;
        let items = items.into_iter().map(|item| {
            charge(ITEM_BYTES);
            nested |= is_container(&item.0);
            item.0
        });
        let value: Val = items.collect();
        if nested {
            charge(NESTING_BYTES);
        }
        Self(value)
    }
}

/// Where an exception waits while `Val`'s own update, which cannot carry it, returns.
type Stash<'a> = RefCell<Option<Exn<'a, Metered>>>;

/// The first results of `results` (at most `count`), with exceptions put aside in `stash`.
fn adapt<'a>(
    results: impl Iterator<Item = ValX<'a, Metered>>,
    stash: &Stash<'a>,
    count: usize,
) -> std::vec::IntoIter<ValX<'a, Val>> {
    let plain = |result| match result {
        Ok(Metered(value)) => {
            tick();
            charge_nesting(&value);
            Ok(value)
        }
        Err(exception) => {
            *stash.borrow_mut() = Some(exception);
            Err(Exn::from(Error::new(Val::Null)))
        }
    };
    results
        .take(count)
        .map(plain)
        .collect::<Vec<_>>()
        .into_iter()
}

fn unstash<'a>(result: ValX<'a, Val>, stash: Stash<'a>, say: &str) -> ValX<'a, Metered> {
    result
        .map(Metered)
        .map_err(|_| stash.into_inner().unwrap_or_else(|| error(say).into()))
}

/// jq rounds the bounds of a slice to whole numbers: outwards.
fn bound(value: Option<&Metered>, round: fn(f64) -> f64) -> Option<Val> {
    value.map(|v| match &v.0 {
        Val::Num(Num::Float(_) | Num::Dec(_)) => {
            jaq_std::ValT::as_f64(&v.0).map_or(Val::Null, |f| Val::from(round(f) as isize))
        }
        other => other.clone(),
    })
}

fn bounds(r: &Range<&Metered>) -> Range<Val> {
    bound(r.start, f64::floor)..bound(r.end, f64::ceil)
}

/// jq takes the whole part of an index.
fn whole_index(index: &Val) -> Option<Val> {
    match index {
        Val::Num(Num::Float(_) | Num::Dec(_)) => {
            let f = jaq_std::ValT::as_f64(index).filter(|f| f.is_finite())?;
            Some(Val::from(f.floor() as isize))
        }
        _ => None,
    }
}

impl Metered {
    /// What an update through null, or beyond the end of an array, works on instead.
    fn grown(self, index: &Val) -> ValR<Self> {
        match (&self.0, index) {
            (Val::Null, Val::TStr(_) | Val::BStr(_)) => Ok(Self(Val::obj(Map::default()))),
            (Val::Null, Val::Num(_)) => Self(Val::Arr(Rc::default())).grown(index),
            (Val::Arr(items), Val::Num(Num::Int(n))) => {
                let Ok(n) = usize::try_from(*n) else {
                    return Ok(self);
                };
                if n < items.len() {
                    return Ok(self);
                }
                charge(n.saturating_add(1).saturating_mul(ITEM_BYTES));
                let mut items = Vec::clone(items);
                items.resize(n + 1, Val::Null);
                Ok(Self(Val::Arr(items.into())))
            }
            (Val::Obj(_), index) if !matches!(index, Val::TStr(_) | Val::BStr(_)) => Err(error(
                format_args!("cannot index object with {}", kind(index)),
            )),
            _ => Ok(self),
        }
    }
}

impl ValT for Metered {
    fn from_num(n: &str) -> ValR<Self> {
        charge(n.len());
        Val::from_num(n)
            .map(Self)
            .map_err(|_| error("not a number"))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(members: I) -> ValR<Self> {
        charge(CONTAINER_BYTES);
        let mut map = Map::default();
        for (key, value) in members {
            if !matches!(key.0, Val::TStr(_) | Val::BStr(_)) {
                let of = kind(&key.0);
                return Err(error(format_args!(
                    "an object key must be a string, not {of}"
                )));
            }
            charge(MEMBER_BYTES);
            charge_nesting(&value.0);
            map.insert(key.0, value.0);
        }
        Ok(Self(Val::obj(map)))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Self, Self), Self>> {
        charge(copied(&self.0));
        let of = kind(&self.0);
        Box::new(self.0.key_values().map(move |entry| {
            charge(STEP_BYTES);
            let entry = entry.map(|(key, value)| (Self(key), Self(value)));
            entry.map_err(|_| error(format_args!("cannot iterate over {of}")))
        }))
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        charge(copied(&self.0));
        let of = kind(&self.0);
        if !is_container(&self.0) {
            return box_once(Err(error(format_args!("cannot iterate over {of}"))));
        }
        Box::new(self.0.values().map(move |value| {
            tick();
            value.map(Self).map_err(|_| error("cannot iterate"))
        }))
    }

    fn index(self, index: &Self) -> ValR<Self> {
        charge(STEP_BYTES);
        let (of, with) = (kind(&self.0), kind(&index.0));
        let say = || error(format_args!("cannot index {of} with {with}"));
        match (&self.0, &index.0) {
            (Val::Obj(_), key) if !matches!(key, Val::TStr(_) | Val::BStr(_)) => Err(say()),
            (Val::Arr(items), Val::Arr(part)) => {
                scan(items.len().saturating_mul(part.len()));
                Ok(super::functions::indices_of_part(items, part))
            }
            (Val::Arr(_) | Val::TStr(_), Val::Obj(range)) => {
                let at = |key| super::value::member(range, key).cloned().map(Metered);
                let (start, end) = (at("start"), at("end"));
                self.range(start.as_ref()..end.as_ref())
            }
            (Val::Arr(_), index) => match whole_index(index) {
                Some(whole) => self.0.index(&whole).map(Self).map_err(|_| say()),
                None => self.0.index(index).map(Self).map_err(|_| say()),
            },
            _ => self.0.index(&index.0).map(Self).map_err(|_| say()),
        }
    }

    fn range(self, r: Range<&Self>) -> ValR<Self> {
        charge(STEP_BYTES);
        match &self.0 {
            Val::Null => return Ok(self),
            // A slice of a text shares it, but has to be found.
            Val::TStr(text) | Val::BStr(text) => scan(text.len()),
            other => charge(size(other)),
        }
        let r = bounds(&r);
        let of = kind(&self.0);
        let say = |_| error(format_args!("cannot take this slice of {of}"));
        self.0
            .range(r.start.as_ref()..r.end.as_ref())
            .map(Self)
            .map_err(say)
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: path::Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        charge(copied(&self.0));
        let say = format!("cannot iterate over {}", kind(&self.0));
        let stash = Stash::default();
        let result = self.0.map_values(opt, |v| adapt(f(Self(v)), &stash, 1));
        unstash(result, stash, &say)
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: path::Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        charge(ITEM_BYTES + copied(&self.0));
        let say = format!("cannot update {} at {}", kind(&self.0), kind(&index.0));
        let index = whole_index(&index.0).unwrap_or_else(|| index.0.clone());
        let container = self.grown(&index).map_err(Exn::from)?;
        let stash = Stash::default();
        let result = container
            .0
            .map_index(&index, opt, |v| adapt(f(Self(v)), &stash, 1));
        unstash(result, stash, &say)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        r: Range<&Self>,
        opt: path::Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        charge(copied(&self.0));
        let say = format!("cannot update this slice of {}", kind(&self.0));
        let r = bounds(&r);
        let container = match self.0 {
            Val::Null => Val::Arr(Rc::default()),
            other => other,
        };
        let stash = Stash::default();
        let update = |v| {
            let new = adapt(f(Self(v)), &stash, 1);
            new.as_slice()
                .iter()
                .flatten()
                .for_each(|v| charge(size(v)));
            new
        };
        let result = container.map_range(r.start.as_ref()..r.end.as_ref(), opt, update);
        unstash(result, stash, &say)
    }

    fn as_bool(&self) -> bool {
        tick();
        self.0.as_bool()
    }

    fn into_string(self) -> Self {
        match self.0 {
            Val::TStr(_) | Val::BStr(_) => Self(self.0.into_string()),
            other => to_json(&other),
        }
    }
}

impl jaq_std::ValT for Metered {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        charge(size(&self.0));
        match self.0 {
            Val::Arr(items) => Ok(items.iter().map(|v| Metered(v.clone())).collect()),
            other => Err(Self(other)),
        }
    }

    fn is_int(&self) -> bool {
        jaq_std::ValT::is_int(&self.0)
    }

    fn as_isize(&self) -> Option<isize> {
        jaq_std::ValT::as_isize(&self.0)
    }

    fn as_f64(&self) -> Option<f64> {
        scan(size(&self.0));
        jaq_std::ValT::as_f64(&self.0)
    }

    fn is_utf8_str(&self) -> bool {
        jaq_std::ValT::is_utf8_str(&self.0)
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        scan(size(&self.0));
        jaq_std::ValT::as_bytes(&self.0)
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        charge(CONTAINER_BYTES);
        Self(jaq_std::ValT::as_sub_str(&self.0, sub))
    }

    fn from_utf8_bytes(b: impl AsRef<[u8]> + Send + 'static) -> Self {
        charge(b.as_ref().len());
        Self(Val::utf8_str(b.as_ref().to_vec()))
    }
}
