//! Heals gaps: asks senders that do not retry for what was missed while we were away.
//!
//! A source may name a list of its sender. Either what is listed are events, which are appended as
//! if delivered, or deliveries, of which those that failed are asked for again. All calls go as
//! those of workflows do, through destinations and the guard; ids go through the same dedupe. One
//! node asks for a source at a time.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::source::Healing;
use super::{Admission, Sources};
use crate::call::Destinations;
use crate::expression::{Expression, Value};
use crate::store::Store;
use crate::trigger::ReceivedAt;
use crate::worker::Appender;

/// Pause between two looks for sources that are due.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Deliveries that are asked for again in one turn.
const REDELIVERIES_MAX: usize = 100;

/// What healing works with.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The sources in force.
    pub sources: Arc<Sources>,
    /// The way to senders.
    pub destinations: Arc<Destinations>,
    /// The way into the log.
    pub appender: Appender,
}

/// What one turn did.
#[derive(Debug, Default)]
struct Healed {
    appended: usize,
    asked: usize,
}

/// Heals until `stop`.
pub async fn run(parts: Parts, stop: CancellationToken) {
    while tokio::time::timeout(LOOK_PERIOD, stop.cancelled())
        .await
        .is_err()
    {
        for source in parts.sources.healing() {
            turn(&parts, &source).await;
        }
    }
}

async fn turn(parts: &Parts, source: &Admission) {
    let Some(healing) = &source.healing else {
        return;
    };
    match parts.store.healing_turn(&source.name, healing.every).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(source.name = source.name, %error, "a source could not be healed");
            return;
        }
    }
    match heal(parts, source, healing).await {
        Ok(Healed {
            appended: 0,
            asked: 0,
        }) => {}
        Ok(healed) => tracing::info!(
            source.name = source.name,
            appended = healed.appended,
            asked = healed.asked,
            "a gap was healed"
        ),
        Err(error) => {
            tracing::warn!(
                source.name = source.name,
                error,
                "a source could not be healed"
            );
        }
    }
}

async fn heal(parts: &Parts, source: &Admission, healing: &Healing) -> Result<Healed, String> {
    let list = parts.destinations.bytes_of("GET", &healing.list).await?;
    let list = Bytes::from(list);
    let elements = healing.items.find(&list);
    let elements = elements.ok_or("the list is not as `items` says")?;
    let mut healed = Healed::default();
    for element in elements {
        match &healing.redeliver {
            None => {
                let event = source.listed(list.slice_ref(element.as_bytes()));
                let receipt = parts.appender.append(event).await;
                let receipt = receipt.map_err(|error| error.to_string())?;
                healed.appended += usize::from(!receipt.duplicate);
            }
            Some(expression) if healed.asked < REDELIVERIES_MAX => {
                let asked = redeliver(parts, source, healing, (expression, element)).await?;
                healed.asked += usize::from(asked);
            }
            Some(_) => break,
        }
    }
    Ok(healed)
}

/// Whether a URI has the scheme and the authority of the list. What it is made of, the sender has
/// written: it must not choose whose credentials are used, nor what is called with them.
fn is_beside(list: &str, uri: &str) -> bool {
    let place = |text: &str| {
        let uri: http::Uri = text.parse().ok()?;
        Some((uri.scheme()?.clone(), uri.authority()?.clone()))
    };
    place(list).is_some_and(|of_list| place(uri) == Some(of_list))
}

/// Asks for a delivery again, unless it is none to be asked for, or was. Whether it has asked.
async fn redeliver(
    parts: &Parts,
    source: &Admission,
    healing: &Healing,
    (expression, element): (&Expression, &str),
) -> Result<bool, String> {
    let delivery = Value::from_json(element.as_bytes()).map_err(|error| error.to_string())?;
    let said = expression.evaluate(&delivery, &ReceivedAt(jiff::Timestamp::now()));
    let said = said.map_err(|error| error.to_string())?;
    let Some(uri) = said.as_str() else {
        return Ok(false);
    };
    if !is_beside(&healing.list, uri) {
        let name = &source.name;
        tracing::warn!(
            source.name = name,
            "`redeliver` says a URI elsewhere than `list`"
        );
        return Ok(true);
    }
    let key = digest::digest(&digest::SHA256, uri.as_bytes());
    let (store, key) = (&parts.store, key.as_ref());
    let known = store.is_healed(&source.name, key).await;
    if known.map_err(|error| error.to_string())? {
        return Ok(false);
    }
    if let Err(error) = parts.destinations.bytes_of("POST", uri).await {
        // The next turn asks again; the others must not wait for it.
        tracing::warn!(
            source.name = source.name,
            error,
            "a delivery is not sent again"
        );
        return Ok(true);
    }
    let noted = store.note_healed(&source.name, key).await;
    noted.map_err(|error| error.to_string())?;
    Ok(true)
}
