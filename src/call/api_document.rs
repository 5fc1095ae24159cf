//! Calls that no run makes: the document of an API when a workflow that calls it is deployed, lists
//! of what a sender could not deliver. One attempt through the guard, as any call goes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Destinations, Identity, Performed};
use crate::id::Id;
use crate::run::{Action, Effect, Key, Outcome, Request};
use crate::workflow::definition::HttpOutput;

/// How long a document may take, the place for its call included.
const FETCH_MAX: Duration = Duration::from_secs(30);

impl Destinations {
    /// Fetches a document of at most `call.response_bytes_max`, following redirects. Where a
    /// destination declares its address, with that one's credentials.
    ///
    /// # Errors
    /// Why it could not be fetched.
    pub async fn api_document(&self, uri: &str) -> Result<Vec<u8>, String> {
        self.bytes_of("GET", uri).await
    }

    /// What one call without a body answers, of at most `call.response_bytes_max`, following
    /// redirects of GET. Where a destination declares its address, with that one's credentials.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub async fn bytes_of(&self, method: &str, uri: &str) -> Result<Vec<u8>, String> {
        let accept = "application/json, application/yaml, */*;q=0.8";
        let request = Request {
            method: method.to_owned(),
            uri: uri.to_owned(),
            headers: vec![("accept".to_owned(), accept.to_owned())],
            query: Vec::new(),
            body: None,
            authentication: None,
            output: HttpOutput::Raw,
            redirect: method == "GET",
            retried: true,
        };
        let effect = Effect {
            key: Key {
                reference: Arc::from("/use"),
                iteration: Arc::from(""),
            },
            attempt: 1,
            spent: 0,
            first_attempt_at: None,
            not_before: None,
            deadline: None,
            action: Action::Call(Arc::new(request)),
        };
        let fetching = async {
            let destination = self.of(&effect);
            let permit = destination.acquire().await;
            let id = Id::generate();
            let identity = Identity {
                run_id: id,
                idempotency_key: id,
            };
            self.perform(&effect, &destination, identity, &permit).await
        };
        let late = "it did not come in time";
        match tokio::time::timeout(FETCH_MAX, fetching).await {
            Err(_) => Err(late.to_owned()),
            Ok(Performed::Done {
                outcome: Outcome::Completed(value),
                ..
            }) => {
                let text = value.as_str().unwrap_or_default();
                STANDARD
                    .decode(text)
                    .map_err(|_| "it has no bytes".to_owned())
            }
            Ok(Performed::Done {
                outcome: Outcome::Faulted(problem),
                ..
            }) => {
                let detail = problem.detail.unwrap_or_default();
                let first: String = detail.chars().take(200).collect();
                Err(format!(
                    "it could not be fetched ({}): {first}",
                    problem.status
                ))
            }
            Ok(Performed::Retry { attempt, .. }) => Err(format!(
                "it could not be fetched ({})",
                attempt.status.unwrap_or(503)
            )),
        }
    }
}
