//! `call: openapi`: the request of an operation, from its parameters.

use percent_encoding::utf8_percent_encode;

use super::credentials;
use super::request::{RESERVED, dot_segments, scalar};
use crate::expression::Value;
use crate::problem::Kind;
use crate::run::Request;
use crate::run::fault::Fault;
use crate::run::scope::View;
use crate::workflow::definition::OpenApiCall;
use crate::workflow::openapi::{Operation, Parameter, Spread, Where};

/// Makes the request of a call from the evaluated parameters.
pub(super) fn make(view: &View<'_>, call: &OpenApiCall, input: &Value) -> Result<Request, Fault> {
    let Some(operation) = &call.operation else {
        let detail = "its API document was not read when this workflow was deployed; \
                      deploy it under a new version";
        return Err(Fault::new(Kind::Configuration, detail));
    };
    let given = match &call.parameters {
        Some(parameters) => view.template(parameters, input)?,
        None => Value::object([]),
    };
    let mut request = Request {
        method: operation.method.clone(),
        uri: String::new(),
        headers: Vec::new(),
        query: Vec::new(),
        body: None,
        authentication: match &call.authentication {
            Some(policy) => Some(credentials::make(view, policy, input)?),
            None => None,
        },
        output: call.output,
        redirect: call.redirect,
        retried: call.retried,
    };
    fill(&mut request, operation, &given).map_err(|wrong| {
        let detail = format!("of the operation `{}`, {wrong}", call.operation_id);
        Fault::new(Kind::Validation, detail)
    })?;
    Ok(request)
}

/// Names and values.
type Members = Vec<(String, Value)>;

/// Puts each parameter where it belongs; the error names it, never its value.
fn fill(request: &mut Request, operation: &Operation, given: &Value) -> Result<(), String> {
    let mut rest = match given.is_null() {
        true => Vec::new(),
        false => given.members().ok_or("`parameters` are no object")?,
    };
    rest.retain(|(_, value)| !value.is_null());
    let mut path = operation.path.clone();
    let (mut form, mut cookies) = (Vec::new(), Vec::new());
    for parameter in &operation.parameters {
        let name = &parameter.name;
        let Some((_, value)) = rest.iter().find(|(given, _)| given == name) else {
            if parameter.required {
                return Err(format!("the parameter `{name}` is missing"));
            }
            continue;
        };
        let pairs = || texts(parameter, value);
        match parameter.place {
            Where::Path => {
                let text = segment(parameter, value)?;
                path = path.replace(&format!("{{{name}}}"), &text);
            }
            Where::Query => request.query.extend(pairs()?),
            Where::Header => {
                let values = pairs()?.into_iter().map(|(_, value)| value);
                let value = values.collect::<Vec<_>>().join(",");
                request.headers.push((name.clone(), value));
            }
            Where::Cookie => cookies.extend(pairs()?.into_iter().map(|(name, value)| {
                let value = utf8_percent_encode(&value, RESERVED);
                format!("{name}={value}")
            })),
            Where::Body => request.body = Some(value.clone()),
            Where::Form => form.push((name.clone(), value.clone())),
        }
    }
    if dot_segments(&path) > dot_segments(&operation.path) {
        return Err("a parameter makes a part of the path `.` or `..`".to_owned());
    }
    request.uri = format!("{}{path}", operation.base);
    if !cookies.is_empty() {
        request
            .headers
            .push(("Cookie".to_owned(), cookies.join("; ")));
    }
    rest.retain(|(name, _)| !operation.parameters.iter().any(|it| it.name == *name));
    body(request, operation, (rest, form))
}

/// What is not declared is the body of OpenAPI 3; a form is one in Swagger 2.
fn body(
    request: &mut Request,
    operation: &Operation,
    (rest, form): (Members, Members),
) -> Result<(), String> {
    if operation.body {
        if !rest.is_empty() {
            request.body = Some(Value::object(rest));
        } else if operation.body_required {
            return Err("the body is missing: no parameter is left for it".to_owned());
        }
    } else if let Some((name, _)) = rest.first() {
        return Err(format!("there is no parameter `{name}`"));
    } else if !form.is_empty() {
        request.body = Some(Value::object(form));
    }
    if request.body.is_some() {
        let media = ("Content-Type".to_owned(), operation.media.clone());
        request.headers.push(media);
    }
    Ok(())
}

/// The text of a value inside the path, each item encoded as data.
fn segment(parameter: &Parameter, value: &Value) -> Result<String, String> {
    let pairs = texts(parameter, value)?;
    let joined = match (&parameter.spread, value.items()) {
        (Spread::Joined(separator), Some(items)) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            let items = items.unwrap_or_default();
            let encoded = items
                .iter()
                .map(|it| utf8_percent_encode(it, RESERVED).to_string());
            encoded.collect::<Vec<_>>().join(separator)
        }
        _ => {
            let text = pairs.into_iter().map(|(_, text)| text).collect::<String>();
            utf8_percent_encode(&text, RESERVED).to_string()
        }
    };
    if joined.is_empty() {
        return Err(format!("the parameter `{}` is empty", parameter.name));
    }
    Ok(joined)
}

/// Names and texts of a parameter: several where a list or an object is spread.
fn texts(parameter: &Parameter, value: &Value) -> Result<Vec<(String, String)>, String> {
    let name = &parameter.name;
    let plain = |value: &Value| {
        scalar(value).ok_or_else(|| format!("the parameter `{name}` has lists within lists"))
    };
    let json = || String::from_utf8(value.to_json()).unwrap_or_default();
    if parameter.spread == Spread::Json {
        return Ok(vec![(name.clone(), json())]);
    }
    if let Some(items) = value.items() {
        let items = items.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
        return Ok(match &parameter.spread {
            Spread::Joined(separator) => vec![(name.clone(), items.join(separator))],
            _ => items.into_iter().map(|item| (name.clone(), item)).collect(),
        });
    }
    if let Some(members) = value.members() {
        let mut pairs = Vec::with_capacity(members.len());
        for (member, value) in members {
            pairs.push((member, plain(&value)?));
        }
        return Ok(match &parameter.spread {
            Spread::Joined(separator) => {
                let flat = pairs.into_iter().flat_map(|(member, text)| [member, text]);
                let flat = flat.collect::<Vec<_>>().join(separator);
                vec![(name.clone(), flat)]
            }
            Spread::Deep => pairs
                .into_iter()
                .map(|(member, text)| (format!("{name}[{member}]"), text))
                .collect(),
            _ => pairs,
        });
    }
    Ok(vec![(name.clone(), plain(value)?)])
}
