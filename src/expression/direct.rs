//! The short way: plain expressions evaluated on the value itself, without jaq.
//!
//! Most expressions of workflows are paths, comparisons, objects, arrays and texts. `compile` asks
//! for a [`Program`] of each; [`Program::run`] either has exactly the result jaq would have, or
//! none: whatever fails, is unusual or large is left to jaq, which evaluates it from the start,
//! within limits and with its messages. So nothing here reports an error.

mod evaluate;

use jaq_core::ValT as _;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::Part;
use jaq_json::Val;

use super::syntax::at_most_deep;
use super::value::text;

/// Levels of the syntax tree up to which evaluating recursively needs little stack.
const LEVELS_MAX: usize = 40;

/// An expression that needs no jaq as long as nothing unusual happens.
pub(super) struct Program {
    main: Node,
    /// True if every result is a part of the input: then it is no larger or deeper than that.
    parts_only: bool,
}

/// One term; those marked *single* have exactly one result where they have one at all.
enum Node {
    Input,
    Constant(Val),
    /// Of the expression's own variables, by number.
    Variable(usize),
    /// Bound inside the expression: how many bindings further out.
    Local(usize),
    Path(Box<Node>, Vec<Step>),
    Pipe(Box<Node>, Box<Node>),
    Bind(Box<Node>, Box<Node>),
    Comma(Box<Node>, Box<Node>),
    Object(Vec<(Node, Node)>),
    Array(Option<Box<Node>>),
    Text(Vec<Node>),
    If(Vec<(Node, Node)>, Box<Node>),
    Compare(Cmp, Box<Node>, Box<Node>),
    Math(Math, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Alternative(Box<Node>, Box<Node>),
    Select(Box<Node>),
    Call(Function, Vec<Node>),
    Empty,
    /// jaq reports it.
    Error,
}

/// One step of a path.
enum Step {
    Member(Val),
    Item(isize),
    /// A member or item by a value computed from the input.
    Computed(Node),
    Each,
}

/// Functions with exactly one result.
#[derive(Clone, Copy)]
enum Function {
    Add,
    AsciiDowncase,
    AsciiUpcase,
    EndsWith,
    FromJson,
    Has,
    Join,
    Keys,
    Length,
    LTrimStr,
    Not,
    RTrimStr,
    Split,
    StartsWith,
    ToEntries,
    ToNumber,
    ToString,
    Type,
}

fn function(name: &str, arguments: usize) -> Option<Function> {
    use Function as F;
    Some(match (name, arguments) {
        ("add", 0) => F::Add,
        ("ascii_downcase", 0) => F::AsciiDowncase,
        ("ascii_upcase", 0) => F::AsciiUpcase,
        ("endswith", 1) => F::EndsWith,
        ("fromjson", 0) => F::FromJson,
        ("has", 1) => F::Has,
        ("join", 1) => F::Join,
        ("keys", 0) => F::Keys,
        ("length", 0) => F::Length,
        ("ltrimstr", 1) => F::LTrimStr,
        ("not", 0) => F::Not,
        ("rtrimstr", 1) => F::RTrimStr,
        ("split", 1) => F::Split,
        ("startswith", 1) => F::StartsWith,
        ("to_entries", 0) => F::ToEntries,
        ("tonumber", 0) => F::ToNumber,
        ("tostring", 0) => F::ToString,
        ("type", 0) => F::Type,
        _ => return None,
    })
}

impl Program {
    /// The program of a term that may use `variables`, if it is one of the plain ones.
    pub(super) fn compile(main: &Term<&str>, variables: &[&str]) -> Option<Self> {
        if !at_most_deep(main, LEVELS_MAX) {
            return None;
        }
        let main = Builder {
            variables,
            locals: Vec::new(),
        }
        .node(main)?;
        let parts_only = main.parts_only();
        Some(Self { main, parts_only })
    }
}

struct Builder<'s> {
    variables: &'s [&'s str],
    locals: Vec<&'s str>,
}

impl<'s> Builder<'s> {
    fn node(&mut self, term: &Term<&'s str>) -> Option<Node> {
        match term {
            Term::Id => Some(Node::Input),
            Term::Num(n) => Val::from_num(n).ok().map(Node::Constant),
            Term::Var(name) => self.variable(name),
            Term::Str(None, parts) => self.text(parts),
            Term::Arr(None) => Some(Node::Array(None)),
            Term::Arr(Some(items)) => Some(Node::Array(Some(self.boxed(items)?))),
            Term::Obj(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| self.member(key, value.as_ref()));
                Some(Node::Object(members.collect::<Option<_>>()?))
            }
            Term::Path(base, path) => {
                let base = self.boxed(base)?;
                let steps = path.0.iter().map(|(part, _)| self.step(part));
                Some(Node::Path(base, steps.collect::<Option<_>>()?))
            }
            Term::BinOp(l, op, r) => self.operation(l, op, r),
            Term::IfThenElse(branches, otherwise) => {
                let branch =
                    |(condition, then): &(_, _)| Some((self.single(condition)?, self.node(then)?));
                let branches = branches.iter().map(branch).collect::<Option<_>>()?;
                let otherwise = match otherwise {
                    Some(otherwise) => self.node(otherwise)?,
                    None => Node::Input,
                };
                Some(Node::If(branches, Box::new(otherwise)))
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            _ => None,
        }
    }

    fn boxed(&mut self, term: &Term<&'s str>) -> Option<Box<Node>> {
        self.node(term).map(Box::new)
    }

    fn single(&mut self, term: &Term<&'s str>) -> Option<Node> {
        self.node(term).filter(Node::is_single)
    }

    fn variable(&self, name: &str) -> Option<Node> {
        if let Some(outwards) = self.locals.iter().rev().position(|local| *local == name) {
            return Some(Node::Local(outwards));
        }
        let name = name.strip_prefix('$')?;
        self.variables
            .iter()
            .position(|v| *v == name)
            .map(Node::Variable)
    }

    fn text(&mut self, parts: &[StrPart<&'s str, Term<&'s str>>]) -> Option<Node> {
        let mut nodes = Vec::new();
        let mut plain = String::new();
        for part in parts {
            match part {
                StrPart::Str(s) => plain.push_str(s),
                StrPart::Char(c) => plain.push(*c),
                StrPart::Term(term) => {
                    let before = std::mem::take(&mut plain);
                    nodes.push(Node::Constant(text(before)));
                    nodes.push(self.single(term)?);
                }
            }
        }
        let last = Node::Constant(text(plain));
        if nodes.is_empty() {
            return Some(last);
        }
        nodes.push(last);
        Some(Node::Text(nodes))
    }

    fn member(
        &mut self,
        key: &Term<&'s str>,
        value: Option<&Term<&'s str>>,
    ) -> Option<(Node, Node)> {
        if let (Term::Var(name), None) = (key, value) {
            let key = Node::Constant(text(name.strip_prefix('$')?));
            return Some((key, self.variable(name)?));
        }
        let key_node = self.single(key)?;
        let value = match (value, &key_node) {
            (Some(value), _) => self.single(value)?,
            (None, Node::Constant(key)) => {
                Node::Path(Box::new(Node::Input), vec![Step::Member(key.clone())])
            }
            (None, _) => return None,
        };
        Some((key_node, value))
    }

    fn step(&mut self, part: &Part<Term<&'s str>>) -> Option<Step> {
        match part {
            Part::Range(None, None) => Some(Step::Each),
            Part::Range(..) => None,
            Part::Index(index) => Some(match self.single(index)? {
                Node::Constant(key @ Val::TStr(_)) => Step::Member(key),
                Node::Constant(Val::Num(jaq_json::Num::Int(i))) => Step::Item(i),
                node => Step::Computed(node),
            }),
        }
    }

    fn operation(
        &mut self,
        l: &Term<&'s str>,
        op: &BinaryOp<&'s str>,
        r: &Term<&'s str>,
    ) -> Option<Node> {
        match op {
            BinaryOp::Pipe(None) => Some(Node::Pipe(self.boxed(l)?, self.boxed(r)?)),
            BinaryOp::Pipe(Some(Pattern::Var(name))) => {
                let l = self.boxed(l)?;
                self.locals.push(name);
                let r = self.boxed(r);
                self.locals.pop();
                Some(Node::Bind(l, r?))
            }
            BinaryOp::Comma => Some(Node::Comma(self.boxed(l)?, self.boxed(r)?)),
            BinaryOp::Alt => Some(Node::Alternative(Box::new(self.single(l)?), self.boxed(r)?)),
            BinaryOp::And => Some(Node::And(
                Box::new(self.single(l)?),
                Box::new(self.single(r)?),
            )),
            BinaryOp::Or => Some(Node::Or(
                Box::new(self.single(l)?),
                Box::new(self.single(r)?),
            )),
            BinaryOp::Math(op) => Some(Node::Math(
                *op,
                Box::new(self.single(l)?),
                Box::new(self.single(r)?),
            )),
            BinaryOp::Cmp(op) => Some(Node::Compare(
                *op,
                Box::new(self.single(l)?),
                Box::new(self.single(r)?),
            )),
            _ => None,
        }
    }

    fn call(&mut self, name: &str, arguments: &[Term<&'s str>]) -> Option<Node> {
        match (name, arguments) {
            ("null", []) => Some(Node::Constant(Val::Null)),
            ("true", []) => Some(Node::Constant(Val::Bool(true))),
            ("false", []) => Some(Node::Constant(Val::Bool(false))),
            ("empty", []) => Some(Node::Empty),
            ("error", [] | [_]) => Some(Node::Error),
            ("select", [condition]) => Some(Node::Select(Box::new(self.single(condition)?))),
            ("first", []) => Some(Node::Path(Box::new(Node::Input), vec![Step::Item(0)])),
            ("last", []) => Some(Node::Path(Box::new(Node::Input), vec![Step::Item(-1)])),
            ("map", [f]) => {
                let each = Node::Path(Box::new(Node::Input), vec![Step::Each]);
                let mapped = Node::Pipe(Box::new(each), self.boxed(f)?);
                Some(Node::Array(Some(Box::new(mapped))))
            }
            _ => {
                let function = function(name, arguments.len())?;
                let arguments = arguments.iter().map(|argument| self.single(argument));
                Some(Node::Call(function, arguments.collect::<Option<_>>()?))
            }
        }
    }
}

impl Node {
    fn is_single(&self) -> bool {
        match self {
            Self::Path(base, steps) => {
                base.is_single() && !steps.iter().any(|step| matches!(step, Step::Each))
            }
            Self::Pipe(l, r) | Self::Bind(l, r) | Self::Alternative(l, r) => {
                l.is_single() && r.is_single()
            }
            Self::If(branches, otherwise) => {
                otherwise.is_single() && branches.iter().all(|(_, then)| then.is_single())
            }
            Self::Comma(..) | Self::Select(_) | Self::Empty => false,
            _ => true,
        }
    }

    fn parts_only(&self) -> bool {
        match self {
            Self::Input | Self::Constant(_) | Self::Variable(_) | Self::Local(_) => true,
            Self::Path(base, _) => base.parts_only(),
            Self::Pipe(l, r) | Self::Alternative(l, r) | Self::Comma(l, r) => {
                l.parts_only() && r.parts_only()
            }
            Self::Compare(..) | Self::And(..) | Self::Or(..) | Self::Select(_) => true,
            Self::If(branches, otherwise) => {
                otherwise.parts_only() && branches.iter().all(|(_, then)| then.parts_only())
            }
            _ => false,
        }
    }
}
