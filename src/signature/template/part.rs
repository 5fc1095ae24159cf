//! The parts of a template: what `{…}` can mean.
//!
//! `{body} {url} {method} {path} {form}`, `{header:A,B} {query:a} {form:a} {json:/a} {xml:/A/B}`,
//! `{item:/a}` of one element of a batch, `{claim:a}` of a token, `{parameter:a}` of the source,
//! `{sig:a}` of a signature and `{secret:a}`; the last two only where a result is never shown.
//! `{request}` stands before the filters that make a canonical form of the whole request.

use http::HeaderName;

use super::{Absent, Allowed, Names, Scope};
use crate::signature::pointer::Pointer;
use crate::signature::view::{View, only};

#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(String),
    Body,
    Url,
    Method,
    Path,
    /// The body where it is a form, else nothing: an empty form.
    WholeForm,
    /// Nothing by itself.
    Request,
    Header(Vec<HeaderName>),
    Query(Vec<String>),
    Form(Vec<String>),
    Json(Vec<usize>),
    Item(Vec<usize>),
    Xml(Vec<Pointer>),
    Claim(String),
    Field(String),
    Secret(String),
    Parameter(String),
}

impl Part {
    pub fn parse(text: &str, allowed: Allowed, names: &mut Names) -> Result<Self, String> {
        let (kind, argument) = text.split_once(':').unwrap_or((text, ""));
        if argument.is_empty() {
            return Self::parse_plain(text);
        }
        let list = || argument.split(',').map(str::to_owned).collect();
        let pointers = |note: &mut dyn FnMut(&str) -> Option<usize>| {
            let indexes = argument
                .split(',')
                .map(|text| note(text).ok_or_else(|| no_pointer(text)));
            indexes.collect::<Result<Vec<_>, _>>()
        };
        match kind {
            "header" => argument
                .split(',')
                .map(|name| {
                    name.parse()
                        .map_err(|_| format!("`{name}` is no header name"))
                })
                .collect::<Result<_, _>>()
                .map(Self::Header),
            "query" => Ok(Self::Query(list())),
            "form" => Ok(Self::Form(list())),
            "json" => pointers(&mut |text| names.pointer(text)).map(Self::Json),
            "item" => pointers(&mut |text| names.item(text)).map(Self::Item),
            "xml" => argument
                .split(',')
                .map(|text| Pointer::parse(text).ok_or_else(|| no_pointer(text)))
                .collect::<Result<_, _>>()
                .map(Self::Xml),
            "claim" => Ok(Self::Claim(argument.to_owned())),
            "parameter" => Ok(Self::Parameter(names.parameter(argument))),
            "sig" if matches!(allowed, Allowed::Signature | Allowed::Secret) => {
                Ok(Self::Field(argument.to_owned()))
            }
            "secret" if allowed == Allowed::Secret => Ok(Self::Secret(names.secret(argument))),
            "sig" | "secret" => Err(format!("`{{{text}}}` may not be used here")),
            _ => Err(unknown(text)),
        }
    }

    fn parse_plain(text: &str) -> Result<Self, String> {
        match text {
            "body" => Ok(Self::Body),
            "url" => Ok(Self::Url),
            "method" => Ok(Self::Method),
            "path" => Ok(Self::Path),
            "form" => Ok(Self::WholeForm),
            "request" => Ok(Self::Request),
            _ => Err(unknown(text)),
        }
    }

    pub fn feed(
        &self,
        view: &View<'_>,
        scope: &Scope<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Absent> {
        match self {
            Self::Literal(text) => sink(text.as_bytes()),
            Self::Body => sink(view.delivery.body),
            Self::Url => sink(view.delivery.url.ok_or(Absent)?.as_bytes()),
            Self::Method => sink(view.delivery.method.as_str().as_bytes()),
            Self::Path => sink(view.path().as_bytes()),
            Self::WholeForm if view.is_form() => sink(view.delivery.body),
            Self::WholeForm | Self::Request => {}
            Self::Header(names) => sink(view.header(names).ok_or(Absent)?),
            Self::Query(names) => sink(view.query(names).ok_or(Absent)?.as_bytes()),
            Self::Form(names) => sink(view.form(names).ok_or(Absent)?.as_bytes()),
            Self::Json(indexes) => sink(view.json(indexes).ok_or(Absent)?.as_bytes()),
            Self::Item(indexes) => {
                let item = scope.item.ok_or(Absent)?;
                sink(item.text(indexes).ok_or(Absent)?.as_bytes());
            }
            Self::Xml(paths) => sink(view.xml(paths).ok_or(Absent)?.as_bytes()),
            Self::Claim(name) => {
                let claims = scope.claims.ok_or(Absent)?;
                sink(claims.text(name).ok_or(Absent)?.as_bytes());
            }
            Self::Field(name) => {
                let fields = scope.fields.iter().filter(|(key, _)| key == name);
                let values = fields.map(|(_, value)| value).collect();
                sink(only(values).ok_or(Absent)?.as_bytes());
            }
            Self::Secret(name) | Self::Parameter(name) => {
                sink(&(scope.secret)(name).ok_or(Absent)?);
            }
        }
        Ok(())
    }

    pub fn header(&self) -> Option<&[HeaderName]> {
        match self {
            Self::Header(names) => Some(names),
            _ => None,
        }
    }
}

fn no_pointer(text: &str) -> String {
    format!("`{text}` is no JSON pointer: it starts with `/` and has at most 16 parts")
}

fn unknown(text: &str) -> String {
    format!(
        "`{{{text}}}` is not known; known: body, url, method, path, form, request, header:, \
         query:, form:, json:, item:, xml:, claim:, parameter:, sig:, secret:"
    )
}
