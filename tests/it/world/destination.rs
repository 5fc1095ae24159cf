//! A destination that does what a test tells it, and remembers every call.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn key(&self) -> &str {
        self.header("idempotency-key")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub delay: Duration,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        let body = r#"{"id":"crm-1"}"#.to_owned();
        let (headers, delay) = (Vec::new(), Duration::ZERO);
        Self {
            status,
            headers,
            body,
            delay,
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn body(self, body: &str) -> Self {
        let body = body.to_owned();
        Self { body, ..self }
    }
}

type Script = dyn Fn(&Call, usize) -> Reply + Send + Sync;

/// A running destination; it ends with the test's runtime.
#[derive(Clone)]
pub struct Destination {
    pub address: SocketAddr,
    script: Arc<Script>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Destination {
    /// `script` is given each call and its number, from 1.
    pub async fn start(script: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Self {
            address,
            script: Arc::new(script),
            calls: Arc::default(),
        };
        let routes = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        this
    }

    /// These statuses one after the other, the last one for ever.
    pub async fn answering(statuses: &'static [u16]) -> Self {
        Self::start(|_, number| Reply::new(statuses[number.min(statuses.len()) - 1])).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// Waits until there were so many calls.
    pub async fn called(&self, count: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.count() < count {
            assert!(Instant::now() < end, "{} of {count} calls", self.count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn answer(
    State(this): State<Destination>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call {
        at: Instant::now(),
        method,
        path: uri.to_string(),
        headers,
        body,
    };
    let number = {
        let mut calls = this.calls.lock().unwrap();
        calls.push(call.clone());
        calls.len()
    };
    let reply = (this.script)(&call, number);
    tokio::time::sleep(reply.delay).await;
    let status = StatusCode::from_u16(reply.status).unwrap();
    let mut response = (status, reply.body).into_response();
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
