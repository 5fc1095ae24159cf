//! Pages of lists: an array, and a `Link` header (RFC 8288) to the next page where there is one.
//!
//! `after` is the last key of the page before, never an offset, so pages neither skip nor repeat
//! what was there when the first was read.

use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use super::{Error, bodies};

/// Entries on a page where nothing is asked for.
pub const LIMIT_DEFAULT: u16 = 100;

/// Most entries on a page.
pub const LIMIT_MAX: u16 = 1_000;

/// The query parameter that bounds a page, for the description.
pub const LIMIT: (&str, &str) = ("limit", "Most entries, 1 to 1000; 100 where not given");

/// The query parameter that continues a list, for the description.
pub const AFTER: (&str, &str) = ("after", "Key of the last entry of the page before");

/// What a request asks of a list. Unknown parameters are refused: a filter with a typing error
/// must not return everything.
#[derive(Clone, Debug)]
pub struct Query {
    parameters: Vec<(String, String)>,
    uri: Uri,
}

impl Query {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// 400 where a parameter is not among `known`, or given twice.
    pub fn new(uri: &Uri, known: &[&str]) -> Result<Self, Error> {
        let query = uri.query().unwrap_or_default();
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let known = known.join(", ");
                let detail = format!("unknown query parameter; this path takes: {known}");
                return Err(Error::BadRequest(detail));
            }
            if parameters.iter().any(|(given, _)| *given == name) {
                return Err(Error::BadRequest(format!(
                    "query parameter {name} is given twice"
                )));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self {
            parameters,
            uri: uri.clone(),
        })
    }

    /// A parameter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter's value, read.
    ///
    /// # Errors
    /// 400 where it cannot be read.
    pub fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let read = value.parse().map(Some);
        read.map_err(|_| Error::BadRequest(format!("query parameter {name} cannot be read")))
    }

    /// How many entries the page may have.
    ///
    /// # Errors
    /// 400 where it is not a number from 1 to [`LIMIT_MAX`].
    pub fn limit(&self) -> Result<u16, Error> {
        let limit = self.parse("limit")?.unwrap_or(LIMIT_DEFAULT);
        if (1..=LIMIT_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(Error::BadRequest(format!("limit must be 1 to {LIMIT_MAX}")))
    }

    /// The page as an answer; `next` = where the next one starts.
    #[must_use]
    pub fn page(&self, items: &[impl Serialize], next: Option<String>) -> Response {
        self.continued(bodies::json(StatusCode::OK, &items), next)
    }

    /// The same of entries that are JSON already.
    #[must_use]
    pub fn page_of(&self, json: Vec<u8>, next: Option<String>) -> Response {
        self.continued(bodies::answer(StatusCode::OK, json), next)
    }

    fn continued(&self, mut response: Response, next: Option<String>) -> Response {
        if let Some(link) = next.and_then(|next| self.link(&next)) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }

    /// A reference relative to this path, so that it holds behind any proxy.
    fn link(&self, next: &str) -> Option<HeaderValue> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters.iter().filter(|(name, _)| name != "after"));
        query.append_pair("after", next);
        let path = self.uri.path().rsplit('/').next().unwrap_or_default();
        HeaderValue::try_from(format!("<{path}?{}>; rel=\"next\"", query.finish())).ok()
    }
}

/// Where the next page starts: at the last key of a full page.
pub fn next<T>(items: &[T], limit: u16, key: impl Fn(&T) -> String) -> Option<String> {
    if items.len() < usize::from(limit) {
        return None;
    }
    items.last().map(key)
}
