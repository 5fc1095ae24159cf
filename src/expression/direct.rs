//! placeholder
use jaq_core::load::parse::Term;
use jaq_json::Val;

pub(super) struct Program;

impl Program {
    pub(super) fn compile(_main: &Term<&str>, _variables: &[&str]) -> Option<Self> {
        None
    }
    pub(super) fn run(&self, _input: &Val, _variables: &[Val]) -> Option<Val> {
        None
    }
}
