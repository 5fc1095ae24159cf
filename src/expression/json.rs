//! JSON text to value and back: RFC 8259 to the letter, in one pass, without losing a digit.
//!
//! Called by `Value::from_json` and `Value::to_json`, and by jq's `fromjson` and `tojson`.
//! It does not know limits other than depth: whoever receives a body bounds its length.

use bytes::Bytes;
use jaq_core::ValT as _;
use jaq_json::{Map, Num, Val};

use super::JsonError;

/// Up to this length of text (in bytes) the strings of a value share one copy of it. Above it
/// every string is copied, so that one small string cannot keep a large body in memory.
const SHARED_BYTES_MAX: usize = 16 * 1024;

/// Integers of more digits are kept as text: turning digits into a big integer takes time
/// quadratic in their number.
const INTEGER_DIGITS_MAX: usize = 1_000;

/// No caller may ask for more levels than this: reading is recursive.
pub(super) const DEPTH_CEILING: usize = 1_000;

/// Every how many levels of writing the remaining stack is looked at.
const STACK_CHECK_LEVELS: usize = 64;

/// Reads one JSON document of at most `depth_max` levels (at most [`DEPTH_CEILING`]).
pub(super) fn read(text: &[u8], depth_max: usize) -> Result<Val, JsonError> {
    if let Err(e) = std::str::from_utf8(text) {
        return Err(fault(text, e.valid_up_to(), "the text is not valid UTF-8"));
    }
    let shared = (text.len() <= SHARED_BYTES_MAX).then(|| Bytes::copy_from_slice(text));
    let depth_max = depth_max.min(DEPTH_CEILING);
    let mut reader = Reader {
        text,
        shared,
        at: 0,
        depth_max,
        keys: Vec::new(),
        values: Vec::new(),
    };
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(reader.fault("the text starts with a byte order mark, which JSON forbids"));
    }
    reader.space();
    if reader.at == text.len() {
        return Err(reader.fault("the text is empty where a JSON value should be"));
    }
    let value = reader.value(0)?;
    reader.space();
    match reader.at == text.len() {
        true => Ok(value),
        false => Err(reader.fault("there is more text after the end of the JSON value")),
    }
}

/// Where and what, but never the text itself: it may hold what must not be logged.
fn fault(text: &[u8], at: usize, what: &str) -> JsonError {
    let before = &text[..at.min(text.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
    JsonError(format!("{what} (line {line}, byte {column} of it)"))
}

struct Reader<'a> {
    text: &'a [u8],
    shared: Option<Bytes>,
    at: usize,
    depth_max: usize,
    /// Members and items of the containers still open: one pair of stacks for all of them, so
    /// that each container is allocated once, at its final size.
    keys: Vec<Val>,
    values: Vec<Val>,
}

impl Reader<'_> {
    fn fault(&self, what: &str) -> JsonError {
        fault(self.text, self.at, what)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Val, JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Val::Bool(true)),
            Some(b'f') => self.word(b"false", Val::Bool(false)),
            Some(b'n') => self.word(b"null", Val::Null),
            Some(_) => Err(self.fault("a JSON value was expected here")),
            None => Err(self.fault("the text ends where a JSON value should be")),
        }
    }

    fn word(&mut self, word: &[u8], value: Val) -> Result<Val, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("a JSON value was expected here"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.depth_max {
            let max = self.depth_max;
            return Err(self.fault(&format!("the value is nested deeper than {max} levels")));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// After an item: true where another one follows, false at the end.
    fn more(&mut self, end: u8, what: &str) -> Result<bool, JsonError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(b) if b == end => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Err(self.fault(what)),
            None => Err(self.fault("the text ends inside an object or array")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Val, JsonError> {
        self.enter(depth)?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Val::Arr(Vec::new().into()));
        }
        let start = self.values.len();
        loop {
            let item = self.value(depth)?;
            self.values.push(item);
            if !self.more(b']', "a comma or ] was expected here")? {
                break;
            }
        }
        Ok(Val::Arr(self.values.split_off(start).into()))
    }

    fn object(&mut self, depth: usize) -> Result<Val, JsonError> {
        self.enter(depth)?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Val::obj(Map::default()));
        }
        let (keys_start, values_start) = (self.keys.len(), self.values.len());
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fault("a member name in double quotes was expected here"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fault("a colon was expected here"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth)?;
            self.keys.push(key);
            self.values.push(value);
            if !self.more(b'}', "a comma or } was expected here")? {
                break;
            }
        }
        let mut members =
            Map::with_capacity_and_hasher(self.keys.len() - keys_start, Default::default());
        let values = self.values.drain(values_start..);
        // A name that comes twice keeps its first place and its last value.
        members.extend(self.keys.drain(keys_start..).zip(values));
        Ok(Val::obj(members))
    }

    fn number(&mut self) -> Result<Val, JsonError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let digits_start = self.at;
        self.digits()?;
        let digits = self.at - digits_start;
        if digits > 1 && self.text[digits_start] == b'0' {
            self.at = digits_start;
            return Err(self.fault("a number must not start with a zero"));
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            whole = false;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let bytes = &self.text[start..self.at];
        if whole && digits <= 18 && bytes != b"-0" {
            let magnitude = self.text[digits_start..self.at]
                .iter()
                .fold(0, |n, b| n * 10 + isize::from(b - b'0'));
            return Ok(Val::Num(Num::Int(if negative {
                -magnitude
            } else {
                magnitude
            })));
        }
        let number = std::str::from_utf8(bytes).map_err(|_| self.fault("not a number"))?;
        if whole && digits <= INTEGER_DIGITS_MAX && number != "-0" {
            return Val::from_num(number).map_err(|_| self.fault("not a number"));
        }
        Ok(Val::Num(Num::Dec(number.to_owned().into())))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.fault("a digit was expected here")),
        }
    }

    fn string(&mut self) -> Result<Val, JsonError> {
        self.at += 1;
        let start = self.at;
        let rest = &self.text[start..];
        let Some(length) = rest
            .iter()
            .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
        else {
            return Err(self.fault("the text ends inside a string"));
        };
        self.at += length;
        if rest[length] != b'"' {
            return self.escaped(rest[..length].to_vec());
        }
        self.at += 1;
        let bytes = match &self.shared {
            Some(shared) => shared.slice(start..start + length),
            None => Bytes::copy_from_slice(&rest[..length]),
        };
        Ok(Val::utf8_str(bytes))
    }

    /// The rest of a string from its first escape on; `out` is what came before it.
    fn escaped(&mut self, mut out: Vec<u8>) -> Result<Val, JsonError> {
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut out)?,
                Some(0..=0x1f) => {
                    return Err(self.fault("a control character in a string must be escaped"));
                }
                Some(b) => {
                    out.push(b);
                    self.at += 1;
                }
                None => return Err(self.fault("the text ends inside a string")),
            }
        }
        self.at += 1;
        Ok(Val::utf8_str(out))
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let plain = match self.text.get(self.at + 1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b @ (b'"' | b'\\' | b'/')) => *b,
            Some(b'u') => return self.unicode(out),
            _ => return Err(self.fault("this escape in a string is not one of JSON's")),
        };
        out.push(plain);
        self.at += 2;
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let lone = "an escaped surrogate stands alone, so the string is not valid Unicode";
        let first = self.hex(self.at)?;
        let (code, length) = match first {
            0xd800..=0xdbff => {
                let Ok(second @ 0xdc00..=0xdfff) = self.hex(self.at + 6) else {
                    return Err(self.fault(lone));
                };
                (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
            }
            code => (code, 6),
        };
        let c = char::from_u32(code).ok_or_else(|| self.fault(lone))?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Ok(())
    }

    /// The code of `\uXXXX` at `at`.
    fn hex(&self, at: usize) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(at..at + 6)
            .and_then(|e| e.strip_prefix(b"\\u"));
        let code = digits.and_then(|digits| {
            digits
                .iter()
                .try_fold(0, |n, b| Some(n * 16 + char::from(*b).to_digit(16)?))
        });
        code.ok_or_else(|| self.fault("\\u must be followed by four hexadecimal digits"))
    }
}

/// What JSON text is written to.
pub(super) trait Sink {
    /// Appends `bytes`, which are part of valid UTF-8 text.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes compact JSON. What JSON cannot say is written as jq does: NaN as null, infinity as the
/// greatest number, invalid bytes in a string as U+FFFD.
pub(super) fn write(value: &Val, out: &mut impl Sink) {
    write_at(value, out, 1);
}

fn write_at<S: Sink>(value: &Val, out: &mut S, depth: usize) {
    match value {
        Val::Null => out.put(b"null"),
        Val::Bool(true) => out.put(b"true"),
        Val::Bool(false) => out.put(b"false"),
        Val::Num(number) => write_number(number, out),
        Val::TStr(text) | Val::BStr(text) => write_string(text, out),
        Val::Arr(_) | Val::Obj(_) if depth.is_multiple_of(STACK_CHECK_LEVELS) => {
            stacker::maybe_grow(128 * 1024, 1024 * 1024, || {
                write_container(value, out, depth)
            });
        }
        Val::Arr(_) | Val::Obj(_) => write_container(value, out, depth),
    }
}

fn write_container<S: Sink>(value: &Val, out: &mut S, depth: usize) {
    match value {
        Val::Arr(items) => {
            out.put(b"[");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.put(b",");
                }
                write_at(item, out, depth + 1);
            }
            out.put(b"]");
        }
        Val::Obj(members) => {
            out.put(b"{");
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.put(b",");
                }
                match key {
                    Val::TStr(_) | Val::BStr(_) => write_at(key, out, depth + 1),
                    // jq's values have no such keys; this keeps the text valid all the same.
                    other => {
                        let mut text = Vec::new();
                        write_at(other, &mut text, depth + 1);
                        write_string(&text, out);
                    }
                }
                out.put(b":");
                write_at(member, out, depth + 1);
            }
            out.put(b"}");
        }
        scalar => write_at(scalar, out, depth),
    }
}

fn write_number<S: Sink>(number: &Num, out: &mut S) {
    /// Below this every integral float is an exact integer of at most 17 digits.
    const INTEGRAL_MAX: f64 = 1e17;
    match number {
        Num::Int(i) => write_integer(*i, out),
        Num::BigInt(i) => out.put(i.to_string().as_bytes()),
        Num::Dec(digits) => out.put(digits.as_bytes()),
        Num::Float(f) if f.is_nan() => out.put(b"null"),
        Num::Float(f) if f.is_infinite() => {
            out.put(if *f > 0.0 {
                b"1.7976931348623157e308"
            } else {
                b"-1.7976931348623157e308"
            });
        }
        Num::Float(f) if f.trunc() == *f && f.abs() < INTEGRAL_MAX => {
            out.put(format!("{f:.0}").as_bytes());
        }
        finite => out.put(finite.to_string().as_bytes()),
    }
}

fn write_integer<S: Sink>(i: isize, out: &mut S) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, i.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if i < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.put(&digits[at..]);
}

fn write_string<S: Sink>(bytes: &[u8], out: &mut S) {
    out.put(b"\"");
    match std::str::from_utf8(bytes) {
        Ok(_) => write_escaped(bytes, out),
        Err(_) => write_escaped(String::from_utf8_lossy(bytes).as_bytes(), out),
    }
    out.put(b"\"");
}

fn write_escaped<S: Sink>(bytes: &[u8], out: &mut S) {
    let mut start = 0;
    for (at, b) in bytes.iter().enumerate() {
        if !matches!(b, b'"' | b'\\' | 0..=0x1f | 0x7f) {
            continue;
        }
        out.put(&bytes[start..at]);
        start = at + 1;
        match b {
            b'"' => out.put(b"\\\""),
            b'\\' => out.put(b"\\\\"),
            b'\n' => out.put(b"\\n"),
            b'\r' => out.put(b"\\r"),
            b'\t' => out.put(b"\\t"),
            0x08 => out.put(b"\\b"),
            0x0c => out.put(b"\\f"),
            control => out.put(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.put(&bytes[start..]);
}
