//! The order the demo sends, and how to send another one by hand.

use http::{HeaderMap, HeaderValue, Method};

use crate::id::Id;
use crate::signature::{Delivery, Keys, Scheme};

/// An order as a shop sends it, shortened.
#[must_use]
pub fn sample() -> String {
    r##"{"id":820982911946154508,"name":"#9999","currency":"EUR","total_price":"59.80",
"customer":{"email":"jane@example.com","first_name":"Jane","last_name":"Doe"},
"line_items":[{"sku":"TEA-GREEN-100","quantity":2,"price":"14.95"},
{"sku":"TEAPOT-BLUE","quantity":1,"price":"29.90"}]}"##
        .replace('\n', "")
}

/// The one secret of the demo's source.
struct Secret<'a>(&'a str);

impl Keys for Secret<'_> {
    fn values(&self, _name: &str) -> Vec<Vec<u8>> {
        vec![self.0.as_bytes().to_vec()]
    }
}

/// The headers of the delivery, its signature among them.
///
/// # Errors
/// Where the catalogue cannot sign for this sender.
pub fn headers(order: &str, secret: &str) -> anyhow::Result<Vec<(String, String)>> {
    let scheme = Scheme::provider("shopify")
        .ok_or_else(|| anyhow::anyhow!("the catalogue has no entry for shopify"))?;
    let id = HeaderValue::from_str(&Id::generate().to_string())?;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-shopify-topic", HeaderValue::from_static("orders/create"));
    headers.insert("x-shopify-webhook-id", id);
    headers.insert(
        "x-shopify-shop-domain",
        HeaderValue::from_static("demo.myshopify.com"),
    );
    let body = bytes::Bytes::copy_from_slice(order.as_bytes());
    let delivery = Delivery {
        method: &Method::POST,
        path_and_query: "/hooks/shop",
        url: None,
        headers: &headers,
        body: &body,
        now: jiff::Timestamp::now().as_second(),
    };
    let signed = scheme.sign(&delivery, &Secret(secret))?;
    for (name, value) in &signed {
        headers.insert(name, value.clone());
    }
    let text = |(name, value): (&http::HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    Ok(headers.iter().filter_map(text).collect())
}

/// A shell command that signs and sends an order.
#[must_use]
pub fn curl(base: &str, secret: &str) -> String {
    let order = concat!(
        r#"{"id":1,"currency":"EUR","total_price":"9.50","#,
        r#""customer":{"email":"me@example.com","first_name":"Me","last_name":"Myself"},"#,
        r#""line_items":[{"sku":"CUP","quantity":1,"price":"9.50"}]}"#,
    );
    format!(
        r#"    body='{order}'
    curl -i {base}/hooks/shop -H 'content-type: application/json' \
      -H 'x-shopify-topic: orders/create' -H "x-shopify-webhook-id: $(date +%s%N)" \
      -H "x-shopify-hmac-sha256: $(printf %s "$body" |
            openssl dgst -sha256 -hmac '{secret}' -binary | base64)" \
      -d "$body""#
    )
}
