//! A JSON value: what runs carry, what expressions work on, what journals hold.
//!
//! Every module uses it. It is immutable and shared: a clone costs a counter, never a copy. It
//! does not evaluate anything; `Expression` does.

use std::fmt;

use bytes::Bytes;
use jaq_json::{Map, Num, Rc, Val};

use super::{JsonError, json, limits};

/// A JSON value: cheap to clone, keeps the spelling of numbers, ordered as jq orders.
///
/// Equality is jq's: `1` equals `1.0`, and the order of an object's members does not matter.
#[derive(Clone, Default, PartialEq)]
pub struct Value(pub(crate) Val);

/// Says what kind of value it is and how large, never what it holds: that may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Val::TStr(text) | Val::BStr(text) => write!(f, "Value(string, {} bytes)", text.len()),
            Val::Arr(items) => write!(f, "Value(array, {} items)", items.len()),
            Val::Obj(members) => write!(f, "Value(object, {} members)", members.len()),
            scalar => write!(f, "Value({})", kind(scalar)),
        }
    }
}

/// jq's name of a value's type.
pub(super) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "boolean",
        Val::Num(_) => "number",
        Val::TStr(_) | Val::BStr(_) => "string",
        Val::Arr(_) => "array",
        Val::Obj(_) => "object",
    }
}

/// A string value; one allocation for the text, one for its place.
pub(super) fn text(text: impl Into<String>) -> Val {
    Val::utf8_str(Bytes::from(text.into().into_bytes()))
}

/// The member `key` of an object.
pub(super) fn member<'a>(members: &'a Map, key: &str) -> Option<&'a Val> {
    /// Up to this many members comparing beats hashing.
    const SCAN_MAX: usize = 16;
    if members.len() > SCAN_MAX {
        return members.get(&text(key));
    }
    let same = |k: &Val| matches!(k, Val::TStr(k) if &***k == key.as_bytes());
    members
        .iter()
        .find(|(k, _)| same(k))
        .map(|(_, value)| value)
}

impl Value {
    /// `null`.
    pub fn null() -> Self {
        Self(Val::Null)
    }

    /// `true` or `false`.
    pub fn bool(b: bool) -> Self {
        Self(Val::Bool(b))
    }

    /// A string.
    pub fn string(s: impl Into<String>) -> Self {
        Self(text(s))
    }

    /// An integer.
    pub fn int(n: i64) -> Self {
        Self(Val::Num(Num::from_integral(n)))
    }

    /// An array.
    pub fn array(items: Vec<Value>) -> Self {
        Self(items.into_iter().map(|item| item.0).collect())
    }

    /// An object; a name that comes twice keeps its last value.
    pub fn object(members: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self(Val::obj(
            members
                .into_iter()
                .map(|(key, value)| (text(key), value.0))
                .collect(),
        ))
    }

    /// Reads one RFC 8259 document of at most `depth_max` levels ([`super::Config`]); numbers keep
    /// their digits, a member that comes twice keeps its last value.
    ///
    /// # Errors
    /// What is wrong and where (line and byte), never a part of the text.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        json::read(text, limits().depth_max).map(Self)
    }

    /// As [`Value::from_json`] for text we wrote ourselves, such as a stored journal, which wraps
    /// values in levels of its own: `depth_max` levels, never more than 1,000.
    ///
    /// # Errors
    /// As [`Value::from_json`].
    pub fn from_json_deep(text: &[u8], depth_max: usize) -> Result<Self, JsonError> {
        json::read(text, depth_max).map(Self)
    }

    /// The same value from serde_json's; its numbers have lost their spelling already.
    pub fn from_serde(value: &serde_json::Value) -> Self {
        Self(from_serde(value))
    }

    /// The same value for serde_json; numbers beyond its range become the nearest it has.
    pub fn to_serde(&self) -> serde_json::Value {
        to_serde(&self.0)
    }

    /// Compact JSON text, always valid UTF-8; numbers with the digits they came with.
    pub fn to_json(&self) -> Vec<u8> {
        /// Most values of a run are webhooks' parts: one growth instead of several.
        const FIRST_BYTES: usize = 512;
        let mut out = match self.0 {
            Val::Arr(_) | Val::Obj(_) => Vec::with_capacity(FIRST_BYTES),
            _ => Vec::new(),
        };
        self.write_json(&mut out);
        out
    }

    /// Appends what [`Value::to_json`] returns.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        json::write(&self.0, out);
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.0, Val::Null)
    }

    /// True for an object.
    pub fn is_object(&self) -> bool {
        matches!(self.0, Val::Obj(_))
    }

    /// jq's name of its type: null, boolean, number, string, array or object.
    pub fn kind(&self) -> &'static str {
        kind(&self.0)
    }

    /// jq truth: only null and false are false.
    pub fn is_truthy(&self) -> bool {
        !matches!(self.0, Val::Null | Val::Bool(false))
    }

    /// The boolean, where it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Val::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The text, where it is a string of valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Val::TStr(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The integer, where it is a number without fraction within range (`2.0` counts).
    pub fn as_i64(&self) -> Option<i64> {
        /// Floats up to this name one integer each.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        match &self.0 {
            Val::Num(Num::Int(i)) => i64::try_from(*i).ok(),
            Val::Num(Num::BigInt(i)) => i64::try_from(&**i).ok(),
            Val::Num(_) => {
                let f = self.as_f64()?;
                (f.trunc() == f && f.abs() <= EXACT_MAX).then_some(f as i64)
            }
            _ => None,
        }
    }

    /// The nearest double, where it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        jaq_std::ValT::as_f64(&self.0)
    }

    /// The items, where it is an array, without copying; see [`Value::items`].
    pub fn as_array(&self) -> Option<&[Val]> {
        match &self.0 {
            Val::Arr(items) => Some(items),
            _ => None,
        }
    }

    /// The items, where it is an array.
    pub fn items(&self) -> Option<Vec<Value>> {
        Some(self.as_array()?.iter().cloned().map(Self).collect())
    }

    /// The item at `index`, where it is an array that has one.
    pub fn item(&self, index: usize) -> Option<Value> {
        self.as_array()?.get(index).cloned().map(Self)
    }

    /// Names the memory an array or object is in: what has the same name is the same value. It
    /// holds as long as the value lives; scalars have none.
    pub fn identity(&self) -> Option<usize> {
        match &self.0 {
            Val::Arr(items) => Some(Rc::as_ptr(items) as usize),
            Val::Obj(members) => Some(Rc::as_ptr(members) as usize),
            _ => None,
        }
    }

    /// Whether JSON can say all of it: no number beyond numbers, no bytes that are no text.
    pub fn has_json_form(&self) -> bool {
        has_json_form(&self.0)
    }

    /// The members in their order, where it is an object.
    pub fn members(&self) -> Option<Vec<(String, Value)>> {
        let Val::Obj(members) = &self.0 else {
            return None;
        };
        let owned = |(key, value): (&Val, &Val)| (key_text(key), Self(value.clone()));
        Some(members.iter().map(owned).collect())
    }

    /// The member `key`, where it is an object that has one.
    pub fn get(&self, key: &str) -> Option<Value> {
        match &self.0 {
            Val::Obj(members) => member(members, key).cloned().map(Self),
            _ => None,
        }
    }

    /// The same object with a member set; anything but an object becomes one first.
    pub fn with(self, key: &str, value: Value) -> Self {
        let mut members = match self.0 {
            Val::Obj(members) => members,
            _ => Rc::new(Map::default()),
        };
        Rc::make_mut(&mut members).insert(text(key), value.0);
        Self(Val::Obj(members))
    }

    /// The value at a JSON Pointer (RFC 6901); `-` and what does not exist are `None`.
    pub fn pointer(&self, pointer: &str) -> Option<Value> {
        if pointer.is_empty() {
            return Some(self.clone());
        }
        let mut at = &self.0;
        for token in pointer.strip_prefix('/')?.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            at = match at {
                Val::Obj(members) => member(members, &token)?,
                Val::Arr(items) => items.get(index(&token)?)?,
                _ => return None,
            };
        }
        Some(Self(at.clone()))
    }
}

/// RFC 6901: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|b| b.is_ascii_digit());
    let plain = token == "0" || !token.starts_with('0');
    (digits && plain).then(|| token.parse().ok()).flatten()
}

fn has_json_form(value: &Val) -> bool {
    match value {
        Val::Null | Val::Bool(_) => true,
        Val::Num(Num::Float(f)) => f.is_finite(),
        Val::Num(_) => true,
        Val::TStr(text) => std::str::from_utf8(text).is_ok(),
        Val::BStr(_) => false,
        Val::Arr(items) => deeper(|| items.iter().all(has_json_form)),
        Val::Obj(members) => deeper(|| {
            members
                .iter()
                .all(|(key, value)| matches!(key, Val::TStr(_)) && has_json_form(value))
        }),
    }
}

/// Values may be nested deeper than a small stack is.
fn deeper<T>(look: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(32 * 1024, 1024 * 1024, look)
}

fn key_text(key: &Val) -> String {
    match key {
        Val::TStr(text) | Val::BStr(text) => String::from_utf8_lossy(text).into_owned(),
        other => {
            let mut out = Vec::new();
            json::write(other, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}

fn from_serde(value: &serde_json::Value) -> Val {
    use serde_json::Value as Json;
    match value {
        Json::Null => Val::Null,
        Json::Bool(b) => Val::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Val::Num(Num::from_integral(i)),
            (None, Some(u)) => Val::Num(Num::from_integral(u)),
            (None, None) => Val::Num(Num::Dec(n.to_string().into())),
        },
        Json::String(s) => text(s.as_str()),
        Json::Array(items) => items.iter().map(from_serde).collect(),
        Json::Object(members) => Val::obj(
            members
                .iter()
                .map(|(k, v)| (text(k.as_str()), from_serde(v)))
                .collect(),
        ),
    }
}

fn to_serde(value: &Val) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Val::Null => Json::Null,
        Val::Bool(b) => Json::Bool(*b),
        Val::Num(Num::Int(i)) => Json::from(*i),
        Val::Num(number) => {
            let f = jaq_std::ValT::as_f64(&Val::Num(number.clone())).unwrap_or_default();
            let near = if f.is_infinite() {
                f64::MAX.copysign(f)
            } else {
                f
            };
            u64::try_from_number(number).map_or_else(|| Json::from(near), Json::from)
        }
        Val::TStr(text) | Val::BStr(text) => Json::from(String::from_utf8_lossy(text)),
        Val::Arr(items) => items.iter().map(to_serde).collect(),
        Val::Obj(members) => Json::Object(
            members
                .iter()
                .map(|(k, v)| (key_text(k), to_serde(v)))
                .collect(),
        ),
    }
}

/// Integers that serde_json holds exactly although they are beyond `i64`.
trait FromNumber: Sized {
    fn try_from_number(number: &Num) -> Option<Self>;
}

impl FromNumber for u64 {
    fn try_from_number(number: &Num) -> Option<Self> {
        match number {
            Num::BigInt(i) => u64::try_from(&**i).ok(),
            _ => None,
        }
    }
}
