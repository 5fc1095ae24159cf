//! Values of a definition in which whole strings may be expressions.
//!
//! `workflow` compiles one per field, `run` evaluates it once. The result is data: it is never
//! looked at for expressions again, and object keys never are (SEMANTICS of the DSL, §3).

use super::{CompileError, EvaluationError, Expression, Scope, Value, value::kind};

/// Levels of a template; definitions are YAML, whose parser has bounds of its own.
const DEPTH_MAX: usize = 100;

/// What a plain string of a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A text, unless the whole string is `${ … }` (`with.*` and most fields).
    Value,
    /// An expression, with or without `${ }` around it, where the field itself is a string
    /// (`set`, `input.from`, `output.as`, `export.as`); inside an object or array as `Value`.
    Expression,
}

/// A value of a definition whose whole-string `${ }` leaves are expressions.
#[derive(Clone, Debug)]
pub enum Template {
    /// Nothing to evaluate.
    Literal(Value),
    /// The whole value is the expression's result.
    Expression(Expression),
    /// Members in their order.
    Object(Vec<(String, Template)>),
    /// Items.
    Array(Vec<Template>),
}

/// Errors by the place they are at: a JSON Pointer relative to the template.
type Errors = Vec<(String, CompileError)>;

impl Template {
    /// Compiles a field; `variables` are those its expressions may use, without the dollar sign.
    ///
    /// # Errors
    /// All that is wrong in it at once, each with its JSON Pointer (RFC 6901) inside `value`.
    pub fn compile(
        value: &Value,
        variables: &[&str],
        mode: Mode,
    ) -> Result<Self, Vec<(String, CompileError)>> {
        let mut errors = Errors::new();
        let template = match (mode, value.as_str()) {
            (Mode::Expression, Some(source)) => {
                expression(source, variables, "", &mut errors).unwrap_or_default()
            }
            _ => {
                let mut compiler = Compiler {
                    variables,
                    errors: &mut errors,
                };
                compiler.template(value, &mut String::new(), DEPTH_MAX)
            }
        };
        if errors.is_empty() {
            Ok(template)
        } else {
            Err(errors)
        }
    }

    /// Evaluates every expression in it on `input`.
    ///
    /// # Errors
    /// The first expression's error.
    pub fn evaluate(&self, input: &Value, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(input, scope),
            Self::Object(members) => {
                let member = |(key, template): &(String, Template)| {
                    Ok((key.clone(), template.evaluate(input, scope)?))
                };
                Ok(Value::object(members.iter().map(member).collect::<Result<
                    Vec<_>,
                    _,
                >>(
                )?))
            }
            Self::Array(items) => {
                let items = items.iter().map(|item| item.evaluate(input, scope));
                Ok(Value::array(items.collect::<Result<_, _>>()?))
            }
        }
    }

    /// The value, where there is nothing to evaluate.
    pub fn as_literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }
}

impl Default for Template {
    fn default() -> Self {
        Self::Literal(Value::null())
    }
}

struct Compiler<'a> {
    variables: &'a [&'a str],
    errors: &'a mut Errors,
}

impl Compiler<'_> {
    fn template(&mut self, value: &Value, pointer: &mut String, levels: usize) -> Template {
        if levels == 0 {
            let message = format!("this value is nested deeper than {DEPTH_MAX} levels");
            self.errors.push((
                pointer.clone(),
                CompileError {
                    message,
                    hint: None,
                },
            ));
            return Template::default();
        }
        if let Some(members) = value.members() {
            let compiled: Vec<_> = members
                .into_iter()
                .map(|(key, value)| {
                    let token = key.replace('~', "~0").replace('/', "~1");
                    (key, self.below(&value, pointer, &token, levels))
                })
                .collect();
            let literal = compiled.iter().all(|(_, t)| t.as_literal().is_some());
            return if literal {
                Template::Literal(value.clone())
            } else {
                Template::Object(compiled)
            };
        }
        if let Some(items) = value.items() {
            let compiled: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(i, item)| self.below(item, pointer, &i.to_string(), levels))
                .collect();
            let literal = compiled.iter().all(|t| t.as_literal().is_some());
            return if literal {
                Template::Literal(value.clone())
            } else {
                Template::Array(compiled)
            };
        }
        let leaf = match value.as_str().map(wrapping) {
            Some(Wrapping::Whole(code)) => expression(code, self.variables, pointer, self.errors),
            Some(Wrapping::Partial) => {
                self.errors
                    .push((pointer.clone(), partial(value.as_str().unwrap_or_default())));
                None
            }
            Some(Wrapping::None) | None => Some(Template::Literal(value.clone())),
        };
        debug_assert!(
            !matches!(kind(&value.0), "array" | "object"),
            "handled above"
        );
        leaf.unwrap_or_default()
    }

    fn below(
        &mut self,
        value: &Value,
        pointer: &mut String,
        token: &str,
        levels: usize,
    ) -> Template {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(token);
        let template = self.template(value, pointer, levels - 1);
        pointer.truncate(length);
        template
    }
}

fn expression(
    source: &str,
    variables: &[&str],
    pointer: &str,
    errors: &mut Errors,
) -> Option<Template> {
    let partial_inside =
        matches!(wrapping(source), Wrapping::Partial) && source.trim().starts_with("${");
    let compiled = match partial_inside {
        true => Err(partial(source)),
        false => Expression::compile(source, variables),
    };
    match compiled {
        Ok(expression) => Some(Template::Expression(expression)),
        Err(error) => {
            errors.push((pointer.to_owned(), error));
            None
        }
    }
}

/// How `${ }` stands in a string.
enum Wrapping<'a> {
    /// Not at all.
    None,
    /// Around all of it: this is the code inside.
    Whole(&'a str),
    /// Somewhere inside it.
    Partial,
}

fn wrapping(text: &str) -> Wrapping<'_> {
    let trimmed = text.trim();
    let Some(inside) = trimmed.strip_prefix("${") else {
        return if text.contains("${") {
            Wrapping::Partial
        } else {
            Wrapping::None
        };
    };
    match closing(inside) {
        Some(end) if end + 1 == inside.len() => Wrapping::Whole(inside[..end].trim()),
        // An open string or bracket: jq says best what is wrong with it.
        None if inside.ends_with('}') => Wrapping::Whole(inside[..inside.len() - 1].trim()),
        _ => Wrapping::Partial,
    }
}

/// The code of an expression field: what is inside `${ }` where that is around all of it.
pub(super) fn unwrapped(source: &str) -> &str {
    match wrapping(source) {
        Wrapping::Whole(code) => code,
        Wrapping::None | Wrapping::Partial => source.trim(),
    }
}

/// Where the brace closes that was opened before `code`, as jq reads: braces in strings and
/// comments do not count, those of interpolations inside strings do.
fn closing(code: &str) -> Option<usize> {
    // What is open: `{`, `(` of an interpolation, or `"`.
    let mut open = vec![b'{'];
    let bytes = code.as_bytes();
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        let in_string = open.last() == Some(&b'"');
        match b {
            b'"' if in_string => drop(open.pop()),
            b'\\' if in_string => {
                at += 1;
                if bytes.get(at) == Some(&b'(') {
                    open.push(b'(');
                }
            }
            _ if in_string => {}
            b'"' | b'{' | b'(' => open.push(*b),
            b'}' | b')' => {
                open.pop();
                if open.is_empty() {
                    return Some(at);
                }
            }
            b'#' => {
                at += bytes[at..]
                    .iter()
                    .position(|b| *b == b'\n')
                    .unwrap_or(bytes.len())
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn partial(text: &str) -> CompileError {
    let before = text.split("${").next().unwrap_or_default().trim_start();
    let start: String = before.chars().take(20).collect();
    CompileError {
        message: "`${` stands inside a string, but only a whole string can be an expression"
            .to_owned(),
        hint: Some(format!(
            "write ${{ \"{start}\\(.id)\" }}, or in an endpoint the URI template {start}{{id}}; \
             a literal ${{ is written ${{ \"${{\" }}"
        )),
    }
}
