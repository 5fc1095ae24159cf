//! Destinations as a server has them, with short limits and loopback allowed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hookwright::call::{Config, Declared, Destination, Destinations, Identity, Performed, parse};
use hookwright::expression::Value;
use hookwright::id::Id;
use hookwright::problem::Problem;
use hookwright::run::{Action, Attempt, Effect, Key, Outcome, Request};
use hookwright::secret::Secrets;
use hookwright::workflow::definition::HttpOutput;

/// Destinations, and what a worker would know.
pub struct World {
    pub destinations: Destinations,
    pub registry: prometheus::Registry,
    pub identity: Identity,
}

/// Limits that let every test end within a second.
pub fn config() -> Config {
    Config {
        connect_timeout_ms: 300,
        timeout_ms: 400,
        request_bytes_max: 64 * 1024,
        response_bytes_max: 256 * 1024,
        concurrency: 2,
        origins_max: 4,
        idle_connections_max: 4,
        idle_timeout_ms: 5_000,
        egress_ports: vec![80, 443],
        egress_allow: vec!["127.0.0.0/8".to_owned()],
    }
}

impl World {
    /// One with these destination documents.
    pub fn new(documents: &[String]) -> Self {
        Self::with(documents, config())
    }

    pub fn with(documents: &[String], config: Config) -> Self {
        let secrets = HashMap::from([
            ("key".to_owned(), "s3cret-key-of-the-test".to_owned().into()),
            (
                "login".to_owned(),
                r#"{"user":"ann","pass":"pass-of-ann"}"#.to_owned().into(),
            ),
        ]);
        let registry = prometheus::Registry::new();
        let secrets = Arc::new(Secrets::new(secrets));
        let destinations =
            Destinations::new(declared(documents), secrets, config, &registry).unwrap();
        let identity = Identity {
            run_id: Id::generate(),
            idempotency_key: Id::generate(),
        };
        Self {
            destinations,
            registry,
            identity,
        }
    }

    pub fn of(&self, effect: &Effect) -> Arc<Destination> {
        self.destinations.of(effect)
    }

    /// One attempt.
    pub async fn perform(&self, effect: &Effect) -> Performed {
        let destination = self.of(effect);
        let permit = destination.acquire().await;
        self.destinations
            .perform(effect, &destination, self.identity, &permit)
            .await
    }

    /// The output of a call that succeeds, as JSON text.
    pub async fn output(&self, effect: &Effect) -> String {
        match self.perform(effect).await {
            Performed::Done {
                outcome: Outcome::Completed(value),
                ..
            } => text(&value),
            other => panic!("{other:?}"),
        }
    }

    /// The error of a call that fails for good.
    pub async fn error(&self, effect: &Effect) -> (Attempt, Problem) {
        match self.perform(effect).await {
            Performed::Done {
                attempt,
                outcome: Outcome::Faulted(problem),
            } => (attempt, problem),
            other => panic!("{other:?}"),
        }
    }

    /// The attempt and the delay of a call that is tried again.
    pub async fn retry(&self, effect: &Effect) -> (Attempt, Duration) {
        match self.perform(effect).await {
            Performed::Retry { attempt, after } => (attempt, after),
            other @ Performed::Done { .. } => panic!("{other:?}"),
        }
    }

    /// The value of a metric with these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let found = metrics.iter().find(|metric| {
            labels.iter().all(|(name, value)| {
                let pairs = metric.get_label();
                pairs
                    .iter()
                    .any(|p| p.name() == *name && p.value() == *value)
            })
        });
        found.map_or(0.0, |metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        })
    }
}

/// Parsed documents, numbered from 1.
pub fn declared(documents: &[String]) -> Vec<Declared> {
    documents
        .iter()
        .zip(1..)
        .map(|(text, number)| Declared {
            number,
            version: 1,
            document: Arc::new(parse(text).unwrap()),
        })
        .collect()
}

pub fn text(value: &Value) -> String {
    String::from_utf8(value.to_json()).unwrap()
}

pub fn value(json: &str) -> Value {
    Value::from_json(json.as_bytes()).unwrap()
}

/// A call without anything but a method and a URI.
pub fn call(method: &str, uri: &str) -> Effect {
    call_with(method, uri, |_| ())
}

pub fn get(uri: &str) -> Effect {
    call("GET", uri)
}

/// A call with more to it.
pub fn call_with(method: &str, uri: &str, change: impl FnOnce(&mut Request)) -> Effect {
    let mut request = Request {
        method: method.to_owned(),
        uri: uri.to_owned(),
        headers: Vec::new(),
        query: Vec::new(),
        body: None,
        authentication: None,
        output: HttpOutput::Content,
        redirect: false,
        retried: false,
    };
    change(&mut request);
    Effect {
        key: Key {
            reference: "/do/0/call".into(),
            iteration: "".into(),
        },
        attempt: 1,
        spent: 0,
        first_attempt_at: None,
        not_before: None,
        deadline: None,
        action: Action::Call(Arc::new(request)),
    }
}

pub fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
