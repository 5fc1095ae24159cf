//! Senders that sign as the real ones do.

use hookwright::signature::{Delivery, Keys, Scheme};
use http::{HeaderMap, HeaderName, Method};

use super::wire::Request;

struct Secret<'a>(&'a str);

impl Keys for Secret<'_> {
    fn values(&self, _name: &str) -> Vec<Vec<u8>> {
        vec![self.0.as_bytes().to_vec()]
    }
}

/// Who sends: a provider of the catalogue with a secret, to one source.
#[derive(Clone, Debug)]
pub struct Sender {
    provider: &'static str,
    secret: String,
    path: String,
}

/// The secret of [`shopify`] and, with its mark, of [`standard`].
pub const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbG9uZyBlbm91Z2g=";

/// The shop that sends to `/hooks/shop`.
pub fn shopify() -> Sender {
    Sender {
        provider: "shopify",
        secret: SECRET.to_owned(),
        path: "/hooks/shop".to_owned(),
    }
}

/// A sender by the Standard Webhooks convention, to `/hooks/load`.
pub fn standard() -> Sender {
    Sender {
        provider: "standard-webhooks",
        secret: format!("whsec_{SECRET}"),
        path: "/hooks/load".to_owned(),
    }
}

impl Sender {
    pub fn with_secret(self, secret: &str) -> Self {
        let secret = secret.to_owned();
        Self { secret, ..self }
    }

    pub fn with_path(self, path: &str) -> Self {
        let path = path.to_owned();
        Self { path, ..self }
    }

    /// A signed delivery with this id.
    pub fn delivery(&self, id: &str, body: impl Into<Vec<u8>>) -> Request {
        self.at(id, body, jiff::Timestamp::now().as_second())
    }

    /// A delivery signed at another time, in seconds since 1970.
    pub fn at(&self, id: &str, body: impl Into<Vec<u8>>, now: i64) -> Request {
        let request = Request::new("POST", &self.path, body);
        let request = request.header("content-type", "application/json");
        let request = match self.provider {
            "shopify" => request
                .header("x-shopify-topic", "orders/create")
                .header("x-shopify-webhook-id", id),
            _ => request.header("webhook-id", id),
        };
        self.sign(request, now)
    }

    fn sign(&self, mut request: Request, now: i64) -> Request {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let body = bytes::Bytes::copy_from_slice(&request.body);
        let delivery = Delivery {
            method: &Method::POST,
            path_and_query: &self.path,
            url: None,
            headers: &headers,
            body: &body,
            now,
        };
        let scheme = Scheme::provider(self.provider).unwrap();
        let signed = scheme.sign(&delivery, &Secret(&self.secret)).unwrap();
        for (name, value) in &signed {
            let value = value.to_str().unwrap().to_owned();
            request.headers.push((name.as_str().to_owned(), value));
        }
        request
    }
}
