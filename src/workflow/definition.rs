//! What a checked workflow is made of. Built only by `workflow::parse`, so whatever exists here is
//! valid: expressions are compiled, names resolved, durations known.

mod approval;
mod concurrency;
mod events;
mod gathering;
mod oauth2;
mod timetable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::openapi::Operation;
use crate::expression::{Expression, Template, Value};

pub use approval::{Approval, Form, OnTimeout};
pub use concurrency::{Concurrency, OnLimit, PRIORITY_MAX, Priority};
pub use events::{
    AttributeFilter, Consume, Correlation, Emit, EventFilter, Foreach, Listen, PATTERN_CHARACTERS,
    Read, Strategy, Until,
};
pub use gathering::{Gather, Gathering};
pub use oauth2::{ClientAuthentication, OAuth2, TOKEN_PATH_DEFAULT, TokenEncoding, token_uri};
pub use timetable::{CatchUp, Cron, Overlap, Timetable, When};

/// A checked, compiled workflow.
#[derive(Debug)]
pub struct Definition {
    /// The `document` section.
    pub document: Document,
    /// `input` of the workflow.
    pub input: Flow,
    /// `output` of the workflow.
    pub output: Flow,
    /// Deadline of a run, `use.timeouts` resolved.
    pub timeout: Option<Timeout>,
    /// What starts runs besides a manual call.
    pub schedule: Option<Schedule>,
    /// How many runs may be open at once, where that is limited.
    pub concurrency: Option<Concurrency>,
    /// How events are gathered before a run starts, where they are.
    pub gathering: Option<Gathering>,
    /// Names of `use.secrets`.
    pub secrets: Vec<String>,
    /// The operations of API documents it calls, to be stored with it.
    pub pins: Option<Vec<u8>>,
    /// `use.functions`, by name.
    pub functions: BTreeMap<String, Arc<Task>>,
    /// The top-level `do`.
    pub tasks: TaskList,
    /// The whole document as data: `$workflow.definition`.
    pub value: Value,
}

/// Identity and description.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Version of the language, `1.0.x`.
    pub dsl: String,
    /// RFC 1123 label.
    pub namespace: String,
    /// RFC 1123 label.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Shown, not interpreted.
    pub title: Option<String>,
    /// Shown, not interpreted.
    pub summary: Option<String>,
    /// Extensions of this server and of others.
    pub metadata: Value,
}

/// One side of a data flow: `input {schema, from}`, `output {as, schema}`, `export {as, schema}`.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// `from` or `as`.
    pub filter: Option<Template>,
    /// `schema`, compiled.
    pub schema: Option<Schema>,
}

/// A compiled JSON Schema (2020-12, no remote references).
#[derive(Clone, Debug)]
pub struct Schema(pub Arc<jsonschema::Validator>);

/// A duration: fixed, or an expression that gives one.
#[derive(Clone, Debug)]
pub enum Span {
    /// Known at deployment.
    Fixed(Duration),
    /// Known when it is evaluated.
    Evaluated(Expression),
}

/// `timeout.after`.
#[derive(Clone, Debug)]
pub struct Timeout {
    /// How long the scope may take.
    pub after: Span,
}

/// `schedule`: what starts runs besides a manual call.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// `on`: each match starts a run with the array of its events as input.
    On {
        /// Which events.
        events: Strategy,
        /// What of the events the run gets.
        read: Read,
    },
    /// `cron`, `every` or `after`: time starts runs, with `{}` as input.
    Time(Box<Timetable>),
}

/// A list of tasks under one pointer.
#[derive(Clone, Debug)]
pub struct TaskList {
    /// The tasks in order.
    pub tasks: Vec<Arc<Task>>,
}

/// Where control goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next task of the list.
    Continue,
    /// Leaves the list.
    Exit,
    /// Completes the run.
    End,
    /// The task at this index of the same list.
    Task(usize),
}

/// One task.
#[derive(Debug)]
pub struct Task {
    /// Its name in its list.
    pub name: String,
    /// Its reference: an RFC 6901 pointer into the definition.
    pub reference: Arc<str>,
    /// `if`.
    pub condition: Option<Expression>,
    /// `input`.
    pub input: Flow,
    /// `output`.
    pub output: Flow,
    /// `export`.
    pub export: Flow,
    /// `timeout`, resolved.
    pub timeout: Option<Timeout>,
    /// `then`.
    pub then: Then,
    /// `metadata`.
    pub metadata: Value,
    /// The definition of the task as data: `$task.definition`.
    pub value: Value,
    /// What it does.
    pub kind: Kind,
}

/// What a task does: one variant per keyword of the language.
#[derive(Debug)]
pub enum Kind {
    /// `call: approval:1.0.0@default`.
    Approval(Box<Approval>),
    /// `call: http`.
    Call(Box<HttpCall>),
    /// `do`.
    Do(TaskList),
    /// `emit`.
    Emit(Box<Emit>),
    /// `for`.
    For(Box<For>),
    /// `fork`.
    Fork(Fork),
    /// `call` of a function.
    Function(Box<FunctionCall>),
    /// `listen`.
    Listen(Box<Listen>),
    /// `call: openapi`.
    OpenApi(Box<OpenApiCall>),
    /// `raise`.
    Raise(Box<Raise>),
    /// `run: workflow`.
    Run(Box<RunWorkflow>),
    /// `set`.
    Set(Template),
    /// `switch`.
    Switch(Vec<Case>),
    /// `try`.
    Try(Box<Try>),
    /// `wait`.
    Wait(Span),
}

/// A case of a `switch`.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its condition; the default case has none.
    pub when: Option<Expression>,
    /// Where it leads.
    pub then: Then,
}

/// `raise.error`; `use.errors` resolved.
#[derive(Debug)]
pub struct Raise {
    /// `type`.
    pub kind: Template,
    /// `status`.
    pub status: Template,
    /// `title`.
    pub title: Option<Template>,
    /// `detail`.
    pub detail: Option<Template>,
    /// `instance`; the task's reference where absent.
    pub instance: Option<Template>,
}

/// `try` with its `catch`.
#[derive(Debug)]
pub struct Try {
    /// The tasks tried.
    pub body: TaskList,
    /// `catch.errors.with`: members that must be equal.
    pub with: Vec<(String, Value)>,
    /// `catch.as`, default `error`.
    pub variable: String,
    /// `catch.when`.
    pub when: Option<Expression>,
    /// `catch.exceptWhen`.
    pub except_when: Option<Expression>,
    /// `catch.retry`; `use.retries` resolved.
    pub retry: Option<Retry>,
    /// `catch.do`.
    pub recovery: Option<TaskList>,
    /// `catch.then`.
    pub then: Option<Then>,
}

/// A retry policy.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Retried only when this holds.
    pub when: Option<Expression>,
    /// Not retried when this holds.
    pub except_when: Option<Expression>,
    /// `delay`; zero where absent.
    pub delay: Option<Span>,
    /// How the delay grows.
    pub backoff: Backoff,
    /// `jitter {from, to}`.
    pub jitter: Option<(Span, Span)>,
    /// `limit.attempt.count`: retries at most.
    pub attempts_max: Option<u32>,
    /// `limit.attempt.duration`: deadline of one attempt.
    pub attempt_duration: Option<Span>,
    /// `limit.duration`: no retry starts after it.
    pub duration: Option<Span>,
}

/// How a delay grows from one retry to the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// The same each time.
    Constant,
    /// By `increment`, or by the delay itself.
    Linear {
        /// What is added for each further retry.
        increment: Option<Duration>,
    },
    /// Times `factor` (default 2), up to `max_delay`.
    Exponential {
        /// Default 2.
        factor: Option<f64>,
        /// Upper bound of the delay.
        max_delay: Option<Duration>,
    },
}

/// `for`.
#[derive(Debug)]
pub struct For {
    /// `for.each`, default `item`.
    pub each: String,
    /// `for.at`, default `index`.
    pub at: String,
    /// `for.in`.
    pub items: Template,
    /// `while`.
    pub condition: Option<Expression>,
    /// The body.
    pub body: TaskList,
    /// `metadata.parallel`: iterations run side by side.
    pub parallel: Option<Parallel>,
}

/// How the iterations of a `for` run side by side.
#[derive(Debug)]
pub struct Parallel {
    /// Iterations that are open at once at most, from 1.
    pub width: usize,
    /// The body as a task of its own, with the reference of the `for`.
    pub iteration: Arc<Task>,
}

/// `fork`.
#[derive(Debug)]
pub struct Fork {
    /// Each branch is one task.
    pub branches: Vec<Arc<Task>>,
    /// The first to succeed wins.
    pub compete: bool,
}

/// `run: workflow`. Whether there is such a workflow is found when the task runs.
#[derive(Debug)]
pub struct RunWorkflow {
    /// RFC 1123 label.
    pub namespace: String,
    /// RFC 1123 label.
    pub name: String,
    /// Semantic version, or `latest`: the version that is active then.
    pub version: String,
    /// `input`; the task's input where absent.
    pub input: Option<Template>,
    /// `await`: the task ends with the sub-workflow, its output is that one's.
    pub awaited: bool,
}

/// `call: http` with its arguments.
#[derive(Debug)]
pub struct HttpCall {
    /// Upper case; may be an expression.
    pub method: Template,
    /// `endpoint` or `endpoint.uri`.
    pub endpoint: Endpoint,
    /// `endpoint.authentication`; `use.authentications` resolved.
    pub authentication: Option<Authentication>,
    /// `headers`.
    pub headers: Option<Template>,
    /// `query`.
    pub query: Option<Template>,
    /// `body`.
    pub body: Option<Template>,
    /// `output`.
    pub output: HttpOutput,
    /// `redirect`.
    pub redirect: bool,
    /// Whether a `try` around this call has a retry policy of its own, so that the destination's
    /// does not apply (one layer retries).
    pub retried: bool,
}

/// `call: openapi` with its arguments.
#[derive(Debug)]
pub struct OpenApiCall {
    /// `operationId`.
    pub operation_id: String,
    /// The operation as it was at deployment; none where nobody has read the document.
    pub operation: Option<Arc<Operation>>,
    /// `parameters`.
    pub parameters: Option<Template>,
    /// `authentication`; `use.authentications` resolved.
    pub authentication: Option<Authentication>,
    /// `output`.
    pub output: HttpOutput,
    /// `redirect`.
    pub redirect: bool,
    /// As [`HttpCall::retried`].
    pub retried: bool,
}

/// `call` of a function of `use.functions`.
#[derive(Debug)]
pub struct FunctionCall {
    /// Its name; it is there.
    pub name: String,
    /// `with`: its raw input; the task's input where absent.
    pub arguments: Option<Template>,
    /// The component of iteration paths that tells this call from others of the same function.
    pub site: String,
    /// As [`HttpCall::retried`], for all calls inside.
    pub retried: bool,
}

/// The address of a call.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An RFC 6570 level 1 template over top-level members of the input.
    Uri(String),
    /// A whole-string expression.
    Expression(Expression),
}

/// What a call's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpOutput {
    /// The body, parsed by its media type.
    Content,
    /// The body in base64.
    Raw,
    /// `{request, statusCode, headers, content}`.
    Response,
}

/// Credentials a definition gives to a call.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// RFC 7617.
    Basic {
        /// User name.
        username: Template,
        /// Password.
        password: Template,
    },
    /// RFC 6750.
    Bearer {
        /// The token.
        token: Template,
    },
    /// RFC 7616.
    Digest {
        /// User name.
        username: Template,
        /// Password.
        password: Template,
    },
    /// RFC 6749: a token is asked for first.
    OAuth2(Box<OAuth2>),
    /// `{<scheme>: {use: secret}}`: an object secret with the scheme's members.
    Secret {
        /// `basic`, `bearer`, `digest` or `oauth2`.
        scheme: String,
        /// Name of the secret.
        name: String,
    },
}
