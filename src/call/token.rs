//! Access tokens: asked for when first needed, kept until shortly before they end, renewed by one.
//!
//! A token belongs to what it is asked for with, whoever asks. On a node one task renews it and
//! the others wait for what it gets; among nodes `shared` sees to the same. Renewing is a task of
//! its own, so that a call that is given up does not end it half-way.

pub(super) mod endpoint;
mod shared;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::run::{Grant, TokenRequest};
use crate::secret::Secrets;

pub(super) use endpoint::Denial;
pub use shared::Sharing;

/// A token is not used in the last part of its life, so that it does not end on its way.
const MARGIN: Duration = Duration::from_secs(30);

/// How long a token is used whose end nobody tells.
const LIFE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Tokens remembered on a node; beyond it the one renewed longest ago is forgotten.
const TOKENS_MAX: usize = 1_000;

/// What a token is asked for with, as a digest.
pub(super) type Key = [u8; digest::SHA256_OUTPUT_LEN];

/// An access token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) access: SecretString,
    /// Raised with every token.
    pub(super) version: i32,
    fresh_until: Instant,
    obtained: Instant,
}

/// All tokens this node knows.
pub(super) struct Tokens {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    secrets: Arc<Secrets>,
    sharing: Option<Sharing>,
}

/// One token and its turns.
#[derive(Default)]
struct Slot {
    last: Mutex<Last>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Last {
    token: Option<Token>,
    denial: Option<(Instant, Denial)>,
}

impl Last {
    /// What is there for someone who began to wait at `began`.
    fn usable(&self, rejected: Option<i32>, began: Instant) -> Option<Result<Token, Denial>> {
        let now = Instant::now();
        if let Some(token) = &self.token
            && Some(token.version) != rejected
            && (token.fresh_until > now || token.obtained > began)
        {
            return Some(Ok(token.clone()));
        }
        let (at, denial) = self.denial.as_ref()?;
        (*at > began).then(|| Err(denial.clone()))
    }
}

impl Tokens {
    pub(super) fn new(secrets: Arc<Secrets>, sharing: Option<Sharing>) -> Self {
        Self {
            slots: Mutex::default(),
            secrets,
            sharing,
        }
    }

    /// A token for this request, not the version that was `rejected`; asked for through `client`.
    pub(super) async fn get(
        self: &Arc<Self>,
        client: reqwest::Client,
        request: &TokenRequest,
        rejected: Option<i32>,
    ) -> Result<Token, Denial> {
        let began = Instant::now();
        let key = key_of(request);
        let slot = self.slot(key);
        if let Some(found) = lock(&slot.last).usable(rejected, began) {
            return found;
        }
        let (tokens, request) = (Arc::clone(self), request.clone());
        let renewing = tokio::spawn(async move {
            let _turn = slot.turn.lock().await;
            if let Some(found) = lock(&slot.last).usable(rejected, began) {
                return found;
            }
            let outcome = match &tokens.sharing {
                Some(sharing) => sharing.obtain(&key, &client, &request, rejected).await,
                None => tokens.alone(&slot, &client, &request).await,
            };
            let mut last = lock(&slot.last);
            match &outcome {
                Ok(token) => {
                    tokens.secrets.hide(&token.access);
                    last.token = Some(token.clone());
                }
                Err(denial) => last.denial = Some((Instant::now(), denial.clone())),
            }
            outcome
        });
        renewing
            .await
            .unwrap_or_else(|_| Err(Denial::interrupted()))
    }

    /// Asks for a token that this node keeps to itself, where there is no database to share it in.
    async fn alone(
        &self,
        slot: &Slot,
        client: &reqwest::Client,
        request: &TokenRequest,
    ) -> Result<Token, Denial> {
        let granted = endpoint::ask(client, request, None).await?;
        let before = lock(&slot.last).token.as_ref().map_or(0, |it| it.version);
        Ok(Token::new(granted.access, before + 1, granted.fresh))
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if slots.len() >= TOKENS_MAX && !slots.contains_key(&key) {
            let idle = slots
                .iter()
                .filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let oldest = idle.min_by_key(|(_, slot)| {
                let last = lock(&slot.last);
                last.token.as_ref().map(|token| token.obtained)
            });
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                slots.remove(&oldest);
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

impl Token {
    fn new(access: SecretString, version: i32, fresh: Duration) -> Self {
        let obtained = Instant::now();
        Self {
            access,
            version,
            fresh_until: obtained + fresh,
            obtained,
        }
    }
}

/// The digest of everything that decides which token is given; another secret is another token.
pub(super) fn key_of(request: &TokenRequest) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |text: &str| {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    };
    let secret = |value: &Option<SecretString>| match value {
        Some(value) => value.expose_secret().to_owned(),
        None => String::new(),
    };
    add(&request.uri);
    match &request.grant {
        Grant::ClientCredentials => add("client_credentials"),
        Grant::RefreshToken(token) => {
            add("refresh_token");
            add(token.expose_secret());
        }
    }
    add(&secret(&request.client_id));
    add(&secret(&request.client_secret));
    add(&format!(
        "{:?} {:?}",
        request.client_authentication, request.encoding
    ));
    for list in [&request.scopes, &request.audiences, &request.issuers] {
        add(&list.len().to_string());
        list.iter().for_each(|text| add(text));
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// A panic elsewhere leaves these whole: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
