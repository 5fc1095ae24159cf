//! Single fields: expressions, templates, durations that may be expressions, timeouts, names.
//!
//! The language has two kinds of fields. In an *expression field* (`if`, `when`, `while`, …) the
//! string is the expression and `${ }` around it is optional; in a *value field* only a string
//! that as a whole is `${ }` is one.

use super::Context;
use crate::expression::{CompileError, Expression, Mode, Template};
use crate::workflow::definition::{Span, Timeout};
use crate::workflow::document::{Content, Fault, Place};

/// Most characters of a variable's name.
const VARIABLE_CHARS_MAX: usize = 64;

/// An expression field.
pub fn expression(place: &Place<'_>, context: &Context<'_>) -> Option<Expression> {
    let Content::String(text) = &place.node().content else {
        place.unexpected("a string with an expression");
        return None;
    };
    match Expression::compile(text, &context.variables()) {
        Ok(expression) => Some(expression),
        Err(error) => {
            refuse(place, "", error);
            None
        }
    }
}

/// An expression field that may be absent.
pub fn condition(place: Option<&Place<'_>>, context: &Context<'_>) -> Option<Expression> {
    place.and_then(|place| expression(place, context))
}

/// A value field.
pub fn template(place: &Place<'_>, context: &Context<'_>) -> Option<Template> {
    compile(place, context, Mode::Value)
}

/// A field that is an expression when it is a string, and a template when it is an object or a
/// list (`from`, `as`, `set`, `in`).
pub fn shape(place: &Place<'_>, context: &Context<'_>) -> Option<Template> {
    match place.node().content {
        Content::String(_) | Content::Object(_) | Content::Array(_) => {
            compile(place, context, Mode::Expression)
        }
        _ => {
            place.unexpected("a string with an expression, an object or a list");
            None
        }
    }
}

fn compile(place: &Place<'_>, context: &Context<'_>, mode: Mode) -> Option<Template> {
    let value = place.value();
    match Template::compile(&value, &context.variables(), mode) {
        Ok(template) => Some(template),
        Err(errors) => {
            for (pointer, error) in errors {
                refuse(place, &pointer, error);
            }
            None
        }
    }
}

/// Reports what is wrong with an expression at a pointer below a place.
fn refuse(place: &Place<'_>, below: &str, error: CompileError) {
    let node = place.node().pointer(below).unwrap_or_else(|| place.node());
    place.faults().push(Fault {
        pointer: format!("{}{below}", place.pointer()),
        line: node.line,
        column: node.column,
        message: error.message,
        hint: error.hint,
    });
}

/// Whether a value field's text is one whole `${ }`.
pub fn is_expression(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${") && text.ends_with('}')
}

/// A duration: fixed, or a whole-string expression.
pub fn span(place: &Place<'_>, context: &Context<'_>) -> Option<Span> {
    if place.node().as_str().is_some_and(is_expression) {
        return expression(place, context).map(Span::Evaluated);
    }
    place.duration().map(Span::Fixed)
}

/// `timeout`: `{after: …}` or a name of `use.timeouts`.
pub fn timeout(place: Option<&Place<'_>>, context: &Context<'_>) -> Option<Timeout> {
    let place = place?;
    let Some(name) = place.node().as_str() else {
        return timeout_object(place, context);
    };
    if let Some(component) = context.components.timeouts.find(name) {
        return timeout_object(component, context);
    }
    let near = place.meant(name, context.components.timeouts.names());
    let hint = near.unwrap_or_else(|| "write {after: PT30S}, or name it there".to_owned());
    place.fault_with(format!("`use.timeouts` has no `{name}`"), hint);
    None
}

/// `{after: …}`.
pub fn timeout_object(place: &Place<'_>, context: &Context<'_>) -> Option<Timeout> {
    let object = place.object()?;
    let after = object
        .required("after")
        .and_then(|place| span(&place, context));
    object.finish();
    Some(Timeout { after: after? })
}

/// A name for a variable, such as `for.each`: what jq accepts after `$`.
pub fn variable<'a>(place: &Place<'a>) -> Option<&'a str> {
    let name = place.string()?;
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let valid = name.starts_with(first)
        && name.len() <= VARIABLE_CHARS_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        let hint = "letters, digits and underscores, a letter first, without `$`";
        place.fault_with("this must be the name of a variable", hint);
        return None;
    }
    if super::STANDARD_VARIABLES.contains(&name) {
        place.fault_with(
            format!("a variable `{name}` would hide `${name}` of the language"),
            "choose another name",
        );
        return None;
    }
    Some(name)
}
