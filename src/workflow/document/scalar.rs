//! Plain scalars by the core schema of YAML 1.2 (section 10.3.2 of its specification).
//!
//! `yes`, `no`, `on` and `off` are strings, `010` is ten. Called by `tree` for unquoted scalars
//! only.

use super::Content;

/// Why a scalar has no JSON value.
pub const NOT_A_NUMBER: &str = "infinity and not-a-number do not exist in JSON";
/// Why a hexadecimal or octal number is refused.
pub const TOO_LARGE: &str = "a hexadecimal or octal number has at most 128 bits";

/// What an unquoted scalar means.
pub fn resolve(text: &str) -> Result<Content, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Content::Null),
        "true" | "True" | "TRUE" => return Ok(Content::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Content::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(NOT_A_NUMBER),
        _ => {}
    }
    if let ".inf" | ".Inf" | ".INF" = text.strip_prefix(['+', '-']).unwrap_or(text) {
        return Err(NOT_A_NUMBER);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            let number = u128::from_str_radix(digits, radix).map_err(|_| TOO_LARGE)?;
            return Ok(Content::Number(number.to_string()));
        }
    }
    Ok(decimal(text).map_or_else(|| Content::String(text.to_owned()), Content::Number))
}

/// The JSON spelling of a decimal number: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn decimal(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let no_digits = whole.is_empty() && fraction.unwrap_or("").is_empty();
    if no_digits || !is_digits(whole) || !is_digits(fraction.unwrap_or("")) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !is_digits(digits) {
            return None;
        }
    }
    let mut spelled = String::with_capacity(text.len() + 2);
    if negative {
        spelled.push('-');
    }
    let significant = whole.trim_start_matches('0');
    spelled.push_str(if significant.is_empty() {
        "0"
    } else {
        significant
    });
    if let Some(fraction) = fraction {
        spelled.push('.');
        spelled.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let Some(exponent) = exponent {
        spelled.push('e');
        spelled.push_str(exponent);
    }
    Some(spelled)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
