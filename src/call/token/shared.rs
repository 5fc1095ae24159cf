//! Tokens shared by all nodes: whoever takes the lease of the row renews, the others wait for it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::endpoint::{self, ASK_MAX, Denial, Granted};
use super::{Key, Token};
use crate::id::Id;
use crate::run::{Grant, TokenRequest};
use crate::secret::{self, Keyring, SealContext};
use crate::store::Store;
use crate::store::tokens::{Sealed, Taken};

/// How long a node may take to renew before another one tries: its request, and the database.
const LEASE: Duration = Duration::from_secs(15);

/// How long the others wait; longer than a lease, so that they take over from a node that died.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Pauses between two looks whether another node is done.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(250);

/// Where tokens are shared and how they are sealed.
#[derive(Clone)]
pub struct Sharing {
    /// The database.
    pub store: Store,
    /// Seals what is stored.
    pub keyring: Arc<Keyring>,
    /// Its name is part of the seal.
    pub environment: Arc<str>,
}

/// What is sealed in a row.
#[derive(Serialize, Deserialize)]
struct Kept {
    access: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

/// A row this node renews: its lease, and what was there.
struct Lease<'a> {
    key: &'a Key,
    holder: Uuid,
    taken: Taken,
}

impl Sharing {
    /// The token of a key: what another node has stored, or a new one.
    pub(super) async fn obtain(
        &self,
        key: &Key,
        client: &reqwest::Client,
        request: &TokenRequest,
        rejected: Option<i32>,
    ) -> Result<Token, Denial> {
        let holder = Id::generate().uuid();
        let end = Instant::now() + WAIT_MAX;
        let mut pause = LOOK_MIN;
        loop {
            let found = self.store.take_token(key, holder, LEASE, rejected).await;
            let found = found.map_err(|error| Denial::unstored(&error))?;
            match found {
                Some(taken) if taken.leased => {
                    let lease = Lease { key, holder, taken };
                    return self.renew(lease, client, request).await;
                }
                Some(Taken {
                    token: Some(row), ..
                }) if !row.fresh.is_zero() && Some(row.version) != rejected => {
                    return self.read(key, &row);
                }
                _ => {}
            }
            if Instant::now() >= end {
                return Err(Denial::busy());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    async fn renew(
        &self,
        lease: Lease<'_>,
        client: &reqwest::Client,
        request: &TokenRequest,
    ) -> Result<Token, Denial> {
        let before = lease.taken.token.as_ref();
        let before = before.and_then(|row| self.open(lease.key, row).ok());
        let refresh = before.and_then(|kept| kept.refresh).map(SecretString::from);
        let asked = endpoint::ask(client, request, refresh.as_ref());
        // The request has its own deadline; this one is for what may hang around it.
        let asked = tokio::time::timeout(ASK_MAX * 2, asked).await;
        match asked.unwrap_or_else(|_| Err(Denial::interrupted())) {
            Ok(granted) => self.keep(lease, request, granted, refresh).await,
            Err(denial) => self.give_up(lease, denial).await,
        }
    }

    /// Gives the lease back. Where the refresh token was refused another node may have used it
    /// first, and stored its successor.
    async fn give_up(&self, lease: Lease<'_>, denial: Denial) -> Result<Token, Denial> {
        let Lease { key, holder, taken } = lease;
        let released = self.store.release_token(key, holder).await;
        released.map_err(|error| Denial::unstored(&error))?;
        if !denial.invalid_grant {
            return Err(denial);
        }
        let now = self.store.take_token(key, holder, Duration::ZERO, None);
        match now.await.ok().flatten().and_then(|now| now.token) {
            Some(row) if row.version > taken.version => self.read(key, &row),
            _ => Err(denial),
        }
    }

    /// Stores what was granted. A token is good even where the lease was lost meanwhile.
    async fn keep(
        &self,
        lease: Lease<'_>,
        request: &TokenRequest,
        granted: Granted,
        refresh: Option<SecretString>,
    ) -> Result<Token, Denial> {
        let version = lease.taken.version + 1;
        let renewable = matches!(request.grant, Grant::RefreshToken(_));
        let refresh = granted.refresh.or(refresh).filter(|_| renewable);
        let kept = Kept {
            access: granted.access.expose_secret().to_owned(),
            refresh: refresh.map(|token| token.expose_secret().to_owned()),
        };
        let row = self
            .seal(lease.key, version, &kept)
            .map_err(|error| Denial::unstored(&error))?;
        let row = Sealed {
            version,
            kek_id: row.kek_id,
            wrapped_key: row.wrapped_key,
            sealed: row.sealed,
            fresh: granted.fresh,
            renewable,
        };
        match self.store.put_token(lease.key, lease.holder, &row).await {
            Ok(_) => {}
            // What is not stored costs another request for a token, unless it is a successor of a
            // refresh token: that must be seen.
            Err(error) if renewable => {
                tracing::error!(%error, "a refresh token could not be stored");
            }
            Err(error) => tracing::warn!(%error, "a token could not be stored"),
        }
        Ok(Token::new(granted.access, version, granted.fresh))
    }

    fn read(&self, key: &Key, row: &Sealed) -> Result<Token, Denial> {
        let kept = self.open(key, row)?;
        Ok(Token::new(kept.access.into(), row.version, row.fresh))
    }

    fn open(&self, key: &Key, row: &Sealed) -> Result<Kept, Denial> {
        let name = name(key);
        let sealed = secret::Sealed {
            kek_id: row.kek_id.clone(),
            wrapped_key: row.wrapped_key.clone(),
            sealed: row.sealed.clone(),
        };
        let text = self
            .keyring
            .open(&self.context(&name, row.version), &sealed)
            .map_err(|error| Denial::unstored(&error))?;
        serde_json::from_str(text.expose_secret())
            .map_err(|_| Denial::unstored(&"what is stored is no token"))
    }

    fn seal(
        &self,
        key: &Key,
        version: i32,
        kept: &Kept,
    ) -> Result<secret::Sealed, Box<dyn std::error::Error + Send + Sync>> {
        let name = name(key);
        let plain = serde_json::to_vec(kept)?;
        Ok(self.keyring.seal(&self.context(&name, version), &plain)?)
    }

    fn context<'a>(&'a self, name: &'a str, version: i32) -> SealContext<'a> {
        SealContext {
            environment: &self.environment,
            name,
            version,
        }
    }
}

/// A name that no secret can have.
fn name(key: &Key) -> String {
    format!("/tokens/{}", hex::encode(key))
}
