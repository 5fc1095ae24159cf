//! From the text of an expression to a filter, or to an error that says what to write instead.
//!
//! Called once per expression when a definition is read. Everything that could make evaluating it
//! unbounded or unknown is refused here or gets a checkpoint.

use std::collections::HashSet;

use jaq_core::compile::Undefined;
use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Filter};

use super::metered::Data;
use super::syntax::{Names, at_most_deep, with_checkpoints};
use super::{CompileError, functions, prelude};

/// Longest expression, in bytes: parsing is recursive.
const SOURCE_BYTES_MAX: usize = 32 * 1024;

/// Stack for compiling, in bytes; only what is used takes memory. Parsing and dropping a source
/// that is one nesting (`-----…1`) takes 50 MiB where nothing is optimised.
const STACK_BYTES: usize = 128 * 1024 * 1024;

/// Most brackets open at once.
const BRACKETS_MAX: usize = 200;

/// Most levels of the syntax tree; `a + b + c` has three.
const LEVELS_MAX: usize = 500;

/// What evaluation needs to know of a compiled expression.
pub(super) struct Compiled {
    pub(super) filter: Filter<Data>,
    /// The variables it uses, without the dollar sign, in the order the filter expects.
    pub(super) variables: Vec<String>,
    pub(super) uses_now: bool,
    /// Texts of string literals, which an error message may repeat; of those with interpolations
    /// the first part, marked `false`.
    pub(super) texts: Vec<(String, bool)>,
    pub(super) direct: Option<super::direct::Program>,
}

/// Compiles jq `code` (without `${ }`) that may use `variables` (without the dollar sign).
pub(super) fn compile(code: &str, variables: &[&str]) -> Result<Compiled, CompileError> {
    bounded(code)?;
    stacker::grow(STACK_BYTES, || {
        let main = parse(code)?;
        if !at_most_deep(&main, LEVELS_MAX) {
            return Err(CompileError {
                message: format!("the expression is nested deeper than {LEVELS_MAX} levels"),
                hint: Some("do the work in several tasks".to_owned()),
            });
        }
        build(code, main, variables)
    })
}

/// What must hold before anything recursive looks at the text.
fn bounded(code: &str) -> Result<(), CompileError> {
    let refuse = |message: String| {
        Err(CompileError {
            message,
            hint: None,
        })
    };
    if code.trim().is_empty() {
        return refuse("the expression is empty".to_owned());
    }
    if code.len() > SOURCE_BYTES_MAX {
        return refuse(format!(
            "the expression is longer than {SOURCE_BYTES_MAX} bytes"
        ));
    }
    let (mut open, mut most) = (0_usize, 0);
    for b in code.bytes() {
        match b {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    match most > BRACKETS_MAX {
        true => refuse(format!(
            "more than {BRACKETS_MAX} brackets are open at once"
        )),
        false => Ok(()),
    }
}

fn parse(code: &str) -> Result<Term<&str>, CompileError> {
    let first = |found: &str, expected: &str| syntax_error(code, found, expected);
    let tokens = Lexer::new(code).lex().map_err(|errors| {
        let error = errors.into_iter().next();
        error.map_or_else(
            || first("", "jq"),
            |(expected, found)| first(found, expected.as_str()),
        )
    })?;
    if let Some(word) = tokens
        .first()
        .map(|t| t.0)
        .filter(|w| ["include", "import", "module"].contains(w))
    {
        return Err(CompileError {
            message: format!("`{word}` is not available: expressions have no modules"),
            hint: Some("write the definitions into the expression itself: `def f: …; …`".into()),
        });
    }
    Parser::new(&tokens).parse(|p| p.term()).map_err(|errors| {
        let end = &code[code.len()..];
        let error = errors.into_iter().next();
        let parts = error.map(|(expected, found)| (expected.as_str(), found.map_or(end, |t| t.0)));
        let (expected, found) = parts.unwrap_or(("a jq expression", end));
        first(found, expected)
    })
}

/// "line 1, column 5" of a part of the code; nothing for a text that is not part of it.
fn position(code: &str, part: &str) -> Option<String> {
    let range = code.as_bytes().as_ptr_range();
    let at = part.as_ptr();
    if at < range.start || at > range.end {
        return None;
    }
    let before = &code[..at.addr() - range.start.addr()];
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or(before).chars().count();
    Some(format!("line {line}, column {column}: "))
}

fn syntax_error(code: &str, found: &str, expected: &str) -> CompileError {
    let place = position(code, found).unwrap_or_default();
    let near: String = found.chars().take(20).take_while(|c| *c != '\n').collect();
    let found_text = match near.is_empty() {
        true => "the expression ends".to_owned(),
        false => format!("found `{near}`"),
    };
    let expected = match expected {
        "" => "nothing more",
        other => other,
    };
    let hint = if code.contains('\'') {
        Some("jq strings use double quotes: write \"text\", not 'text'")
    } else if code.contains("&&") || code.contains("||") {
        Some("jq writes `and` and `or`")
    } else if code.contains("${") {
        Some("`${ }` goes around the whole expression; inside a string write \\(…)")
    } else if code.contains("===") {
        Some("jq compares with `==`")
    } else {
        None
    };
    CompileError {
        message: format!("{place}expected {expected}, but {found_text}"),
        hint: hint.map(str::to_owned),
    }
}

fn build(code: &str, main: Term<&str>, variables: &[&str]) -> Result<Compiled, CompileError> {
    let mut names = Names::default();
    names.collect(&main);
    if let Some(name) = names.functions.iter().find(|name| name.starts_with("__")) {
        return Err(unknown_function(code, name, 0));
    }
    let used: Vec<&str> = variables
        .iter()
        .copied()
        .filter(|v| names.variables.contains(&*format!("${v}")))
        .collect();
    let dollars: Vec<String> = used.iter().map(|v| format!("${v}")).collect();
    let direct = super::direct::Program::compile(&main, &used);

    let (mut needed, mut texts) = (names.functions, HashSet::new());
    let mut definitions = prelude::reached(&mut needed, &mut texts);
    let natives = functions::all().filter(|f| needed.contains(f.0));
    definitions.push(Def {
        name: "__main",
        args: Vec::new(),
        body: with_checkpoints(main, &[]),
    });
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(
        &arena,
        File {
            code: "__main",
            path: (),
        },
    );
    let modules = modules.map_err(|_| syntax_error(code, "", "a jq expression"))?;
    let compiler = Compiler::default().with_funs(natives);
    let compiler = compiler.with_global_vars(dollars.iter().map(String::as_str));
    let filter = compiler.compile(modules).map_err(|errors| {
        let error = errors.into_iter().flat_map(|(_, errors)| errors).next();
        match error {
            Some((name, Undefined::Var)) => unknown_variable(code, name, variables),
            Some((name, Undefined::Filter(arity))) => unknown_function(code, name, arity),
            Some((name, what)) => CompileError {
                message: format!("undefined {}: {name}", what.as_str()),
                hint: None,
            },
            None => syntax_error(code, "", "a jq expression"),
        }
    })?;
    let own = names
        .texts
        .into_iter()
        .map(|(text, whole)| (text.to_owned(), whole));
    let texts = own.chain(texts.into_iter().map(|text| (text.to_owned(), true)));
    Ok(Compiled {
        filter,
        variables: used.into_iter().map(str::to_owned).collect(),
        uses_now: needed.contains("now"),
        texts: texts.filter(|(text, _)| !text.is_empty()).collect(),
        direct,
    })
}

fn unknown_variable(code: &str, name: &str, variables: &[&str]) -> CompileError {
    let place = position(code, name).unwrap_or_default();
    let known = || {
        variables
            .iter()
            .map(|v| format!("${v}"))
            .collect::<Vec<_>>()
    };
    let hint = match (name, nearest(name, known().iter().map(String::as_str))) {
        ("$ENV", _) => Some("an expression cannot read the server's environment".to_owned()),
        (_, Some(near)) => Some(format!("did you mean `{near}`?")),
        (_, None) if variables.is_empty() => Some("no variable is known here".to_owned()),
        (_, None) => Some(format!("known here are {}", known().join(", "))),
    };
    CompileError {
        message: format!("{place}unknown variable `{name}`"),
        hint,
    }
}

/// Of jq, but not defined here, and why.
const REFUSED: [(&str, &str); 14] = [
    ("env", "an expression cannot read the server's environment"),
    ("input", "an expression has one input only: `.`"),
    ("inputs", "an expression has one input only: `.`"),
    ("input_filename", "an expression has one input only: `.`"),
    ("input_line_number", "an expression has one input only: `.`"),
    ("debug", "an expression cannot write to the server's log"),
    ("stderr", "an expression cannot write to the server's log"),
    ("halt", "an expression cannot end the server"),
    (
        "halt_error",
        "an expression cannot end the server; use `error(\"…\")`",
    ),
    ("get_search_list", "expressions have no modules"),
    ("modulemeta", "expressions have no modules"),
    (
        "localtime",
        "the server's time zone is not part of a definition; use `gmtime`",
    ),
    (
        "strflocaltime",
        "the server's time zone is not part of a definition; use `strftime`",
    ),
    ("tobytes", "values here are JSON; use `@base64`"),
];

fn unknown_function(code: &str, name: &str, arity: usize) -> CompileError {
    let place = position(code, name).unwrap_or_default();
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let message = format!("{place}`{name}` is not available in an expression");
        return CompileError {
            message,
            hint: Some((*why).to_owned()),
        };
    }
    let natives = functions::all()
        .map(|f| (f.0, f.1.len()))
        .collect::<Vec<_>>();
    let known: Vec<(&str, usize)> = prelude::names()
        .chain(natives)
        .filter(|(name, _)| !name.starts_with("__"))
        .collect();
    let mut arities: Vec<usize> = known.iter().filter(|k| k.0 == name).map(|k| k.1).collect();
    arities.sort_unstable();
    arities.dedup();
    if !arities.is_empty() {
        let counts = arities
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(" or ");
        let message = format!("{place}`{name}` does not take {arity} arguments");
        return CompileError {
            message,
            hint: Some(format!("it takes {counts}")),
        };
    }
    let near = nearest(name, known.iter().map(|k| k.0));
    let hint = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => Some(format!("a member is written `.{name}`, a text \"{name}\"")),
    };
    CompileError {
        message: format!("{place}unknown function `{name}`"),
        hint,
    }
}

/// The candidate closest to `name`, if one is close.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let most = 1 + name.len() / 4;
    let close = candidates.map(|candidate| (distance(name, candidate), candidate));
    let close = close.filter(|(distance, _)| *distance <= most);
    close
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// How many characters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
