//! What matching a regular expression may cost, before it is tried.
//!
//! The engine is linear in the text, but its factor is the size of the expanded expression:
//! `(a?){2000}` is 2,000 times `a?`. Called by the function that guards all regular expressions.

/// Steps above which a match is refused.
pub(super) const MAX: u64 = 100_000_000;

/// Steps that count as one tick of the budget.
pub(super) const PER_TICK: u64 = 64;

/// Steps of starting the engine.
const BASE: u64 = 64;

/// Steps to match a text of `text_bytes` bytes, at worst.
pub(super) fn of(regex: &[u8], text_bytes: usize) -> u64 {
    (expanded(regex) + BASE).saturating_mul(text_bytes as u64 + 16)
}

/// Length of the expression with its counted repetitions written out.
fn expanded(regex: &[u8]) -> u64 {
    // For each group still open: its length so far, and that of its last part.
    let mut groups = vec![(0_u64, 0_u64)];
    let mut at = 0;
    while let Some(b) = regex.get(at) {
        let part = match b {
            b'(' => {
                groups.push((0, 0));
                at += 1;
                continue;
            }
            b')' if groups.len() > 1 => groups
                .pop()
                .map_or(0, |(sum, last)| sum.saturating_add(last)),
            b'{' => {
                let (count, length) = repetition(&regex[at..]);
                if let Some((_, last)) = groups.last_mut() {
                    *last = last.saturating_mul(count);
                }
                at += length;
                continue;
            }
            // A Unicode class such as \w or \p{L} is large in itself.
            b'\\' => {
                at += 1;
                8
            }
            _ => 1,
        };
        if let Some((sum, last)) = groups.last_mut() {
            *sum = sum.saturating_add(*last);
            *last = part;
        }
        at += 1;
    }
    groups.iter().fold(0, |all: u64, (sum, last)| {
        all.saturating_add(*sum).saturating_add(*last)
    })
}

/// The greatest count in `{n}`, `{n,}` or `{n,m}` and the length of that text; 1 for other text.
fn repetition(text: &[u8]) -> (u64, usize) {
    let Some(end) = text.iter().position(|b| *b == b'}') else {
        return (1, 1);
    };
    let inside = &text[1..end];
    if inside.is_empty() || !inside.iter().all(|b| b.is_ascii_digit() || *b == b',') {
        return (1, 1);
    }
    let number = |digits: &[u8]| {
        let value = |n: u64, b: &u8| n.saturating_mul(10).saturating_add(u64::from(b - b'0'));
        digits.iter().fold(0, value)
    };
    let counts = inside.split(|b| *b == b',').map(number);
    (counts.max().unwrap_or(1).max(1), end + 1)
}
