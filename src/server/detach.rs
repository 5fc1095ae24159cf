//! Layers around every route: a handler is never dropped half-way, a panic is an answer, and a
//! request whose framing could be read two ways is refused.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Version, header};

use crate::problem::Problem;

/// Wraps the router.
///
/// A sender that hangs up makes hyper drop the handler at whatever it awaits; with a database
/// statement under way that can poison the connection for others (RELIABILITY M1, M2). Here each
/// handler runs in a task of its own: the sender's going away detaches it, nothing cancels it.
pub fn wrap(router: Router) -> Router {
    router
        .layer(middleware::from_fn(detached))
        .layer(middleware::from_fn(unambiguous))
}

async fn detached(request: Request, next: Next) -> Result<Response, Infallible> {
    let handled = tokio::spawn(next.run(request)).await;
    Ok(handled.unwrap_or_else(|error| {
        // The panic itself was logged by the panic hook; the message could hold data.
        tracing::error!(panicked = error.is_panic(), "a request could not be served");
        let detail = "the server failed; its log says where";
        Problem::http(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
    }))
}

async fn unambiguous(request: Request, next: Next) -> Result<Response, Infallible> {
    let headers = request.headers();
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let refusal = match request.version() {
        Version::HTTP_10 if chunked => Some("Transfer-Encoding is not part of HTTP/1.0"),
        Version::HTTP_11 if !headers.contains_key(header::HOST) => Some("Host is missing"),
        _ if chunked && headers.contains_key(header::CONTENT_LENGTH) => {
            Some("Content-Length and Transfer-Encoding exclude each other")
        }
        _ => None,
    };
    match refusal {
        Some(detail) => {
            let mut response = Problem::http(StatusCode::BAD_REQUEST, detail).into_response();
            let close = http::HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            Ok(response)
        }
        None => Ok(next.run(request).await),
    }
}
