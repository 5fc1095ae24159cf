//! The functions jq needs in Rust: jaq's, without those that reach out of an expression, and ours.
//!
//! `compile` picks what an expression names. What can be said in jq is said in `prelude.jq`.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{Cv, Error, Exn, RunPtr, ValR, ValXs};
use jaq_json::{Num, Val};

use super::budget::{charge, scan, tick};
use super::metered::{self, Data, Metered, compare, equal, size};
use super::value::{kind, text};
use super::{json, limits, regex_cost};

/// Not defined in an expression: they read the server's environment, clock or time zone, write to
/// its log, or end its process.
const ABSENT: [&str; 8] = [
    "env",
    "halt",
    "now",
    "debug_empty",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "error_empty",
];

/// What a call of a function that may call itself costs, in bytes. jaq keeps arguments in linked
/// lists and drops those recursively: this bounds their length, so that the stack is enough.
const CALL_BYTES: usize = 256;

/// What each argument and variable of such a function costs on top, in bytes: links of that list.
const LINK_BYTES: usize = 128;

/// Reached through a definition of the same name in `prelude.jq`, which bounds what they cost or
/// keeps the data they complain about out of the message.
const WRAPPED: [(&str, &str); 13] = [
    ("matches", "__matches"),
    ("split_matches", "__split_matches"),
    ("split_", "__split"),
    ("ltrimstr", "__ltrimstr"),
    ("rtrimstr", "__rtrimstr"),
    ("strptime", "__strptime"),
    ("strftime", "__strftime"),
    ("mktime", "__mktime"),
    ("gmtime", "__gmtime"),
    ("fromdateiso8601", "__fromdateiso8601"),
    ("todateiso8601", "__todateiso8601"),
    ("implode", "__implode"),
    ("decode_base64", "__decode_base64"),
];

thread_local! {
    /// What `now` answers: seconds since 1970, frozen by the caller.
    static NOW: Cell<f64> = const { Cell::new(0.0) };
    /// What the expression itself raised last: told apart from our messages, it may hold data.
    static RAISED: RefCell<Option<Val>> = const { RefCell::new(None) };
}

/// Freezes `now` and forgets what was raised, before an evaluation on this thread.
pub(super) fn prepare(now_seconds: f64) {
    NOW.set(now_seconds);
    RAISED.set(None);
}

/// True if the expression raised this value itself (`error(…)`).
pub(super) fn raised_by_expression(value: &Val) -> bool {
    RAISED.with_borrow(|raised| raised.as_ref() == Some(value))
}

/// Lets go of what [`raised_by_expression`] compares with.
pub(super) fn forget_raised() {
    RAISED.set(None);
}

/// Every native function, by the name compiled filters use.
pub(super) fn all() -> impl Iterator<Item = Fun<Data>> {
    let theirs = jaq_core::funs::<Data>().chain(jaq_std::funs());
    let theirs = theirs.filter(|f| !ABSENT.contains(&f.0)).map(|mut f| {
        if let Some((_, name)) = WRAPPED.iter().find(|(name, _)| *name == f.0) {
            f.0 = name;
        }
        f
    });
    theirs.chain(ours().into_iter().map(run::<Data>))
}

/// Names and numbers of arguments of our own: they stand for definitions of the same name.
pub(super) fn ours_replace() -> impl Iterator<Item = (&'static str, usize)> {
    ours()
        .into_iter()
        .filter(|f| f.0 != "error_empty")
        .map(|f| (f.0, f.1.len()))
}

fn ours() -> Vec<Filter<RunPtr<Data>>> {
    vec![
        ("__tick", v(0), |_| {
            charge(CALL_BYTES);
            bome(Ok(Metered(Val::Null)))
        }),
        ("__ticks", v(0), |cv| {
            let links = jaq_std::ValT::as_isize(&cv.1.0).map_or(0, isize::unsigned_abs);
            charge(CALL_BYTES.saturating_add(links.saturating_mul(LINK_BYTES)));
            bome(Ok(Metered(Val::Null)))
        }),
        ("__deeper", v(0), |_| {
            tick();
            bome(Ok(Metered(Val::Null)))
        }),
        ("__nan", v(0), |_| bome(Ok(Metered::from(f64::NAN)))),
        ("__infinite", v(0), |_| {
            bome(Ok(Metered::from(f64::INFINITY)))
        }),
        ("__regex", v(1), |cv| {
            unary(cv, |text, regex| charge_regex(&text, &regex))
        }),
        ("now", v(0), |_| bome(Ok(Metered::from(NOW.get())))),
        ("error_empty", v(0), raise),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1.0))),
        ("tojson", v(0), |cv| bome(Ok(metered::to_json(&cv.1.0)))),
        ("tonumber", v(0), |cv| bome(to_number(cv.1))),
        ("type", v(0), |cv| bome(Ok(Metered(text(kind(&cv.1.0)))))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("has", v(1), |cv| {
            unary(cv, |value, key| has(&value.0, &key.0))
        }),
        ("contains", v(1), |cv| {
            unary(cv, |a, b| contains_checked(&a.0, &b.0))
        }),
        ("indices", v(1), |cv| unary(cv, |a, b| indices(&a.0, &b.0))),
        ("bsearch", v(1), |cv| unary(cv, |a, x| search(&a.0, &x.0))),
        ("join", v(1), |cv| {
            unary(cv, |items, separator| join(&items.0, &separator.0))
        }),
        ("encode_base32", v(0), |cv| {
            bome(with_text(&cv.1.0, |t| Ok(encode_base32(t))))
        }),
        ("decode_base32", v(0), |cv| {
            bome(with_text(&cv.1.0, decode_base32))
        }),
    ]
}

fn raise<'a>(cv: Cv<'a, Data>) -> ValXs<'a, Metered> {
    RAISED.set(Some(cv.1.0.clone()));
    let raised: Result<Metered, Exn<'a, Metered>> = Err(Error::new(cv.1).into());
    Box::new(std::iter::once(raised))
}

fn from_json(value: &Val) -> ValR<Metered> {
    let Val::TStr(text) = value else {
        return Err(metered::error(format_args!(
            "{} is not JSON text",
            kind(value)
        )));
    };
    charge(text.len().saturating_mul(8));
    let read = json::read(text, limits().depth_max).map(Metered);
    read.map_err(|e| metered::error(format_args!("cannot parse the text as JSON: {e}")))
}

/// Digits without the zeros in front that jq takes and JSON does not (`"007"`).
fn without_zeros(text: &[u8]) -> &[u8] {
    let zeros = text.iter().take_while(|b| **b == b'0').count();
    match text.get(zeros).is_some_and(u8::is_ascii_digit) {
        true => &text[zeros..],
        // "0", "000" or "0.5": one zero belongs to the number.
        false => &text[zeros.saturating_sub(1)..],
    }
}

pub(super) fn to_number(value: Metered) -> ValR<Metered> {
    let parsed = match &value.0 {
        Val::Num(_) => return Ok(value),
        Val::TStr(text) => {
            charge(text.len());
            json::read(without_zeros(text), 0)
                .ok()
                .filter(|v| matches!(v, Val::Num(_)))
        }
        _ => None,
    };
    let of = kind(&value.0);
    let say = || metered::error(format_args!("this {of} cannot be parsed as a number"));
    parsed.map(Metered).ok_or_else(say)
}

pub(super) fn length(value: Metered) -> ValR<Metered> {
    let length = match &value.0 {
        Val::Null => 0,
        Val::Bool(_) => return Err(metered::error("boolean has no length")),
        Val::Num(n) if *n < Num::Int(0) => return -value,
        Val::Num(_) => return Ok(value),
        Val::BStr(bytes) => bytes.len(),
        Val::TStr(text) => {
            scan(text.len());
            characters(text)
        }
        Val::Arr(items) => items.len(),
        Val::Obj(members) => members.len(),
    };
    Ok(Metered::from(length))
}

/// Unicode characters of a text: bytes that do not continue one.
pub(super) fn characters(text: &[u8]) -> usize {
    text.iter().filter(|b| (**b & 0xc0) != 0x80).count()
}

pub(super) fn has(value: &Val, key: &Val) -> ValR<Metered> {
    let found = match (value, key) {
        (Val::Obj(members), Val::TStr(_) | Val::BStr(_)) => members.contains_key(key),
        (Val::Arr(items), Val::Num(Num::Int(i))) => {
            usize::try_from(*i).is_ok_and(|i| i < items.len())
        }
        _ => {
            let (of, key) = (kind(value), kind(key));
            return Err(metered::error(format_args!(
                "cannot check whether {of} has a {key} key"
            )));
        }
    };
    Ok(Metered::from(found))
}

fn contains_checked(a: &Val, b: &Val) -> ValR<Metered> {
    let (of, what) = (kind(a), kind(b));
    match of == what {
        true => Ok(Metered::from(contains(a, b))),
        false => Err(metered::error(format_args!("{of} cannot contain {what}"))),
    }
}

fn contains(a: &Val, b: &Val) -> bool {
    tick();
    match (a, b) {
        (Val::Obj(a), Val::Obj(b)) => b
            .iter()
            .all(|(key, b)| a.get(key).is_some_and(|a| contains(a, b))),
        (Val::Arr(a), Val::Arr(b)) => b.iter().all(|b| a.iter().any(|a| contains(a, b))),
        (Val::TStr(a), Val::TStr(b)) => find(a, b).next().is_some(),
        _ => equal(a, b),
    }
}

/// Where `part` begins in `text`, overlapping ones too; an empty part begins once.
fn find<'a>(text: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    scan(text.len().saturating_mul(part.len().min(16)));
    text.windows(part.len().max(1))
        .enumerate()
        .filter_map(move |(at, window)| (window.starts_with(part)).then_some(at))
        .chain((text.is_empty() && part.is_empty()).then_some(0))
}

fn indices(value: &Val, part: &Val) -> ValR<Metered> {
    match (value, part) {
        (Val::Null, _) => Ok(Metered(Val::Null)),
        (Val::Arr(items), Val::Arr(part)) => Ok(indices_of_part(items, part)),
        (Val::Arr(items), part) => {
            let found = items
                .iter()
                .enumerate()
                .filter(|(_, item)| equal(item, part));
            Ok(found.map(|(i, _)| Metered::from(i)).collect())
        }
        (Val::TStr(_), Val::TStr(part)) if part.is_empty() => Ok(Metered(Val::Null)),
        (Val::TStr(text), Val::TStr(part)) => {
            let (mut counted, mut count) = (0, 0);
            let in_characters = |at: usize| {
                count += characters(&text[counted..at]);
                counted = at;
                Metered::from(count)
            };
            Ok(find(text, part).map(in_characters).collect())
        }
        _ => {
            let (of, what) = (kind(value), kind(part));
            Err(metered::error(format_args!(
                "cannot look for {what} in {of}"
            )))
        }
    }
}

/// Where the items of `part` come one after the other in `items`.
pub(super) fn indices_of_part(items: &[Val], part: &[Val]) -> Metered {
    if part.is_empty() {
        return Metered(Val::Null);
    }
    let same = |window: &[Val]| window.iter().zip(part).all(|(x, y)| equal(x, y));
    let found = items
        .windows(part.len())
        .enumerate()
        .filter(|(_, window)| same(window));
    found.map(|(i, _)| Metered::from(i)).collect()
}

fn search(value: &Val, wanted: &Val) -> ValR<Metered> {
    let Val::Arr(items) = value else {
        return Err(metered::error(format_args!(
            "{} cannot be searched",
            kind(value)
        )));
    };
    let found = items.binary_search_by(|item| compare(item, wanted));
    Ok(Metered::from(
        found.map_or_else(|i| -1 - i as isize, |i| i as isize),
    ))
}

pub(super) fn join(items: &Val, separator: &Val) -> ValR<Metered> {
    let (Val::Arr(items), Val::TStr(separator)) = (items, separator) else {
        let (of, with) = (kind(items), kind(separator));
        return Err(metered::error(format_args!("cannot join {of} with {with}")));
    };
    let mut out = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            charge(separator.len());
            out.extend_from_slice(separator);
        }
        match item {
            Val::Null => {}
            Val::TStr(text) => {
                charge(text.len());
                out.extend_from_slice(text);
            }
            Val::Bool(_) | Val::Num(_) => {
                charge(size(item));
                json::write(item, &mut out);
            }
            _ => {
                return Err(metered::error(format_args!(
                    "{} cannot be joined",
                    kind(item)
                )));
            }
        }
    }
    Ok(Metered(Val::utf8_str(out)))
}

fn charge_regex(text: &Metered, regex: &Metered) -> ValR<Metered> {
    if let (Val::TStr(text), Val::TStr(regex)) = (&text.0, &regex.0) {
        let cost = regex_cost::of(regex, text.len());
        if cost > regex_cost::MAX {
            return Err(metered::error(
                "this regular expression is too expensive for a text of this length",
            ));
        }
        super::budget::spend(cost / regex_cost::PER_TICK);
    }
    Ok(Metered(Val::Null))
}

fn with_text(value: &Val, f: impl Fn(&[u8]) -> ValR<Vec<u8>, Metered>) -> ValR<Metered> {
    let Val::TStr(text) = value else {
        return Err(metered::error(format_args!(
            "{} is not a string",
            kind(value)
        )));
    };
    charge(text.len().saturating_mul(2));
    f(text).map(|bytes| Metered(Val::utf8_str(Bytes::from(bytes))))
}

/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn encode_base32(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().div_ceil(5) * 8);
    for chunk in text.chunks(5) {
        let mut bytes = [0; 8];
        bytes[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(bytes);
        let characters = (chunk.len() * 8).div_ceil(5);
        let digit = |i: usize| BASE32[(bits >> (35 - 5 * i) & 31) as usize];
        out.extend((0..8).map(|i| if i < characters { digit(i) } else { b'=' }));
    }
    out
}

fn decode_base32(text: &[u8]) -> ValR<Vec<u8>, Metered> {
    let trimmed = text
        .iter()
        .rposition(|b| *b != b'=')
        .map_or(0, |last| last + 1);
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for b in &text[..trimmed] {
        let digit = BASE32.iter().position(|digit| digit == b);
        let digit = digit.ok_or_else(|| metered::error("the text is not valid base32"))?;
        bits = (bits << 5 | digit as u32) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(out)
}
