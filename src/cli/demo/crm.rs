//! A CRM for the demo: a local HTTP server that is down for a moment, then takes the order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::net::TcpListener;

/// The key the CRM asks for.
pub const API_KEY: &str = "demo-crm-api-key";

/// The running stand-in.
pub struct Crm {
    /// Its base URL.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Crm {
    /// Starts on a free port of loopback; ends with the process.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no free port")?;
        let address = listener.local_addr()?;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let routes = Router::new()
            .route("/v2/orders", post(order))
            .with_state(Arc::clone(&calls));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self {
            url: format!("http://{address}/v2"),
            address,
            calls,
        })
    }

    /// One line for each call so far.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn order(
    State(calls): State<Arc<Mutex<Vec<String>>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("none")
            .to_owned()
    };
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, answer) = if text("x-api-key") != API_KEY {
        (StatusCode::UNAUTHORIZED, r#"{"error":"who are you?"}"#)
    } else if calls.is_empty() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"error":"down for a moment"}"#,
        )
    } else {
        (StatusCode::CREATED, r#"{"id":"crm-1042"}"#)
    };
    calls.push(format!(
        "{} POST /v2/orders  idempotency-key {}  {}",
        status.as_u16(),
        text("idempotency-key"),
        String::from_utf8_lossy(&body)
    ));
    (status, [(header::CONTENT_TYPE, "application/json")], answer).into_response()
}
