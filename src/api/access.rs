//! Who may do what: API keys, roles, and the permission each route declares.
//!
//! A key is `hwk_<environment>_<id>_<secret>`; the database has the id and the SHA-256 of the
//! secret. What was read about a key is kept for a few seconds, so revoking one takes effect
//! within that time on every node. As long as no key was ever made, requests are let through: the
//! server then listens on loopback only, and requests that a browser was lured into are refused.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest, rand};
use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Host;

use super::{Error, State};
use crate::store::Store;
use crate::store::api_keys::{ApiKey, NewApiKey};

/// Most keys kept in memory; beyond it all are forgotten and read again.
const CACHED_MAX: usize = 1_024;

/// Random bytes in the public part of a key.
const ID_BYTES: usize = 8;

/// Random bytes in the secret part of a key.
const SECRET_BYTES: usize = 32;

/// Longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// What a key may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads everything but keys; secrets' values nobody reads.
    Viewer,
    /// Starts, controls and replays runs; publishes events.
    Operator,
    /// Changes sources.
    Editor,
    /// Changes workflows and destinations: what is done, and where credentials are sent.
    Deployer,
    /// Changes secrets and keys.
    Admin,
}

impl Role {
    /// All of them, from least to most.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Editor,
        Self::Deployer,
        Self::Admin,
    ];

    /// The role's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// Something a route lets its caller do.
pub trait Permission: Send + Sync + 'static {
    /// Its name in the published description.
    const NAME: &'static str;
    /// The least role that has it.
    const ROLE: Role;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident($text:literal) = $role:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl Permission for $name {
                const NAME: &'static str = $text;
                const ROLE: Role = Role::$role;
            }
        )*
    };
}
permissions! {
    /// See workflows, sources, destinations, and the names of secrets.
    ReadDefinitions("definitions:read") = Viewer;
    /// See runs with their data, and the ledger.
    ReadRuns("runs:read") = Viewer;
    /// See events with their bodies.
    ReadEvents("events:read") = Viewer;
    /// Start runs.
    StartRuns("runs:start") = Operator;
    /// Suspend, resume, cancel and replay runs.
    ControlRuns("runs:control") = Operator;
    /// Approve and reject what people are asked.
    DecideApprovals("approvals:decide") = Operator;
    /// Publish events and replay them.
    PublishEvents("events:publish") = Operator;
    /// Change sources.
    ChangeSources("sources:change") = Editor;
    /// Change, activate and retire workflows.
    ChangeWorkflows("workflows:change") = Deployer;
    /// Change destinations.
    ChangeDestinations("destinations:change") = Deployer;
    /// Set and forget secrets.
    ChangeSecrets("secrets:change") = Admin;
    /// See, make and revoke API keys.
    ChangeKeys("keys:change") = Admin;
}

/// Proof that the caller has the permission `P`; the first argument of every route's function.
#[derive(Debug)]
pub struct Allowed<P> {
    /// The key it came with; `None` as long as there is none at all.
    pub key: Option<Arc<ApiKey>>,
    permission: PhantomData<P>,
}

impl<P: Permission> FromRequestParts<State> for Allowed<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut request::Parts, state: &State) -> Result<Self, Error> {
        let key = state.access.admit(&parts.headers, state).await?;
        if let Some(key) = &key
            && Role::of(&key.role).is_none_or(|role| role < P::ROLE)
        {
            return Err(Error::Forbidden { needs: P::ROLE });
        }
        Ok(Self {
            key,
            permission: PhantomData,
        })
    }
}

/// What this node knows about keys.
pub struct Keys {
    ttl: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, (Instant, Option<Arc<ApiKey>>)>,
    /// Once there is a key there always is one: only "none yet" gets old.
    any: Option<(Instant, bool)>,
}

impl Keys {
    /// Keeps what was read for `ttl_ms` milliseconds.
    #[must_use]
    pub fn new(ttl_ms: u32) -> Self {
        Self {
            ttl: Duration::from_millis(ttl_ms.into()),
            known: Mutex::default(),
        }
    }

    async fn admit(
        &self,
        headers: &HeaderMap,
        state: &State,
    ) -> Result<Option<Arc<ApiKey>>, Error> {
        if !self.any(&state.store).await? {
            refuse_lured(headers)?;
            return Ok(None);
        }
        let wrong = |why: &str| Error::Unauthenticated(why.to_owned());
        let given = bearer(headers).ok_or_else(|| {
            wrong("send an API key: `Authorization: Bearer hwk_…` (make one: `hookwright keys`)")
        })?;
        let (environment, id, secret) = split(given).ok_or_else(|| wrong("not an API key"))?;
        if environment != state.environment.as_ref() {
            return Err(wrong("this API key is for another environment"));
        }
        let key = self.key(id, &state.store).await?;
        // An unknown id costs the same comparison as a known one.
        let expected = key
            .as_ref()
            .map_or(&[0; 32][..], |key| key.digest.as_slice());
        let same = constant_time::verify_slices_are_equal(&hash(secret), expected).is_ok();
        key.filter(|key| same && key.is_good_at(Timestamp::now()))
            .map(Some)
            .ok_or_else(|| wrong("this API key is unknown, expired or revoked"))
    }

    async fn any(&self, store: &Store) -> Result<bool, Error> {
        if let Some((read_at, any)) = self.known(|known| known.any)
            && (any || read_at.elapsed() < self.ttl)
        {
            return Ok(any);
        }
        let any = store.has_api_keys().await?;
        self.known(|known| known.any = Some((Instant::now(), any)));
        Ok(any)
    }

    async fn key(&self, id: &str, store: &Store) -> Result<Option<Arc<ApiKey>>, Error> {
        if let Some((read_at, key)) = self.known(|known| known.keys.get(id).cloned())
            && read_at.elapsed() < self.ttl
        {
            return Ok(key);
        }
        let read_at = Instant::now();
        let key = store.api_key(id).await?.map(Arc::new);
        self.known(|known| {
            if known.keys.len() >= CACHED_MAX {
                known.keys.clear();
            }
            known.keys.insert(id.to_owned(), (read_at, key.clone()));
        });
        Ok(key)
    }

    /// Forgets everything, after a change that went through this node.
    pub fn forget(&self) {
        self.known(|known| *known = Known::default());
    }

    fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let fits = scheme.eq_ignore_ascii_case("bearer") && key.len() <= KEY_BYTES_MAX;
    fits.then_some(key.trim())
}

/// Environment, id and secret of a key. The environment may itself hold underscores.
fn split(key: &str) -> Option<(&str, &str, &str)> {
    let (rest, secret) = key.strip_prefix("hwk_")?.rsplit_once('_')?;
    let (environment, id) = rest.rsplit_once('_')?;
    Some((environment, id, secret))
}

fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

/// Makes a key: its full text, to be shown once, and what is recorded of it.
///
/// # Errors
/// Where the system gives no randomness.
pub fn make(
    environment: &str,
    name: &str,
    role: Role,
    expires_at: Option<Timestamp>,
) -> Result<(String, NewApiKey), Error> {
    let mut bytes = [0_u8; ID_BYTES + SECRET_BYTES];
    rand::fill(&mut bytes).map_err(|_| Error::Internal(anyhow::anyhow!("no randomness")))?;
    let (id, secret) = bytes.split_at(ID_BYTES);
    let (id, secret) = (hex::encode(id), hex::encode(secret));
    let text = format!("hwk_{environment}_{id}_{secret}");
    let name = name.to_owned();
    let key = NewApiKey {
        id,
        name,
        digest: hash(&secret),
        role: role.word(),
        expires_at,
    };
    Ok((text, key))
}

/// Records the admin's key that the configuration gives, where there is one, unless it is on record
/// already; one that was revoked stays revoked.
///
/// # Errors
/// With what to do where it is no key of this environment, and where the database is away.
pub async fn record_configured(
    store: &Store,
    environment: &str,
    key: &SecretString,
) -> anyhow::Result<()> {
    let key = key.expose_secret();
    if key.is_empty() {
        return Ok(());
    }
    let parts = split(key).filter(|(named, _, secret)| {
        *named == environment && secret.len() == SECRET_BYTES * 2 && key.len() <= KEY_BYTES_MAX
    });
    let Some((_, id, secret)) = parts else {
        anyhow::bail!(
            "api.admin_key is no key of the environment {environment}: \
             make one with `hookwright keys generate --environment {environment}`"
        );
    };
    if store.api_key(id).await?.is_none() {
        let new = NewApiKey {
            id: id.to_owned(),
            name: "from the configuration".to_owned(),
            digest: hash(secret),
            role: Role::Admin.word(),
            expires_at: None,
        };
        store.add_api_key(&new).await?;
    }
    Ok(())
}

/// Without keys only the own machine may call. A page in a browser on it could do so, too, by a
/// cross-origin request or a name that resolves to loopback; both show in the headers.
fn refuse_lured(headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).is_none_or(|host| is_loopback(&format!("http://{host}")));
    let origin = text(header::ORIGIN).is_none_or(is_loopback);
    if host && origin {
        return Ok(());
    }
    let detail = "as long as there is no API key only requests to localhost are taken; \
                  make one with `hookwright keys`";
    Err(Error::Unauthenticated(detail.to_owned()))
}

fn is_loopback(url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
