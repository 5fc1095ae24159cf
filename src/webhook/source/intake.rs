//! What a source takes in: from whom, how much, how often, and which of its events count.
//!
//! Read from a source document; `gate` applies it to deliveries, the router's screens to events.
//! A source that says nothing of it costs nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use crate::expression::Expression;
use crate::workflow::document::{Object, Place};

/// Largest body that a source may ask for, in bytes.
pub const BODY_BYTES_MAX: i64 = 25 * 1024 * 1024;

/// Networks a source may name.
const NETWORKS_MAX: usize = 256;

/// Deliveries a rate may count at most.
const REQUESTS_MAX: i64 = 1_000_000;

/// Longest time a rate may be over.
const PER_MAX: Duration = Duration::from_secs(86_400);

/// What a source takes in.
#[derive(Debug, Default)]
pub struct Intake {
    /// Where deliveries may come from; anywhere where it is empty.
    pub networks: Vec<IpNet>,
    /// Bytes of a body, in place of `webhook.body_bytes_max`.
    pub body_bytes_max: Option<usize>,
    /// How many deliveries a node takes.
    pub rate: Option<Rate>,
    /// Events are stored and held until the source goes on.
    pub paused: bool,
    /// Events for which it is not true are recorded and start nothing.
    pub filter: Option<Expression>,
}

/// So many deliveries in a time, and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time after which there is room for one more.
    pub period: Duration,
    /// How many may come at once after a pause.
    pub burst: NonZeroU32,
}

impl Intake {
    /// Reads the members of a source document; faults are noted at their places.
    pub(super) fn read(object: &Object<'_>) -> Self {
        let networks = object.optional_object("ingress").map(|ingress| {
            let networks = ingress.optional("allow").map(|place| networks(&place));
            ingress.finish();
            networks.unwrap_or_default()
        });
        let body_bytes_max = object.optional("bodyBytesMax");
        let body_bytes_max = body_bytes_max.and_then(|place| place.integer(1, BODY_BYTES_MAX));
        let rate = object.optional("rateLimit");
        let filter = object.optional("filter");
        Self {
            networks: networks.unwrap_or_default(),
            body_bytes_max: body_bytes_max.and_then(|bytes| usize::try_from(bytes).ok()),
            rate: rate.and_then(|place| Rate::read(&place)),
            paused: object.optional_bool("paused").unwrap_or(false),
            filter: filter.and_then(|place| expression(&place)),
        }
    }
}

impl Rate {
    fn read(place: &Place<'_>) -> Option<Self> {
        let object = place.object()?;
        let count = |place: &Place<'_>| {
            let count = u32::try_from(place.integer(1, REQUESTS_MAX)?).ok()?;
            NonZeroU32::new(count)
        };
        let requests = object.required("requests").and_then(|place| count(&place));
        let burst = object.optional("burst").map(|place| count(&place));
        let per = object.optional("per");
        let over = per.as_ref().map_or(Some(Duration::from_secs(1)), |place| {
            let per = place.duration()?;
            if per.is_zero() || per > PER_MAX {
                place.fault("a rate is over a time of at most a day");
                return None;
            }
            Some(per)
        });
        object.finish();
        let (requests, over) = (requests?, over?);
        let burst = burst.map_or(Some(requests), |burst| burst)?;
        Some(Self {
            period: over / requests.get(),
            burst,
        })
    }
}

fn networks(place: &Place<'_>) -> Vec<IpNet> {
    let places = place.array().unwrap_or_default();
    if places.is_empty() || places.len() > NETWORKS_MAX {
        place.fault(format!("name 1 to {NETWORKS_MAX} networks"));
    }
    let networks = places.iter().filter_map(|place| {
        let network = network(place.string()?);
        if network.is_none() {
            let hint = "write 192.0.2.0/24, 2001:db8::/32 or one address";
            place.fault_with("this is no network", hint);
        }
        network
    });
    networks.collect()
}

/// A network in CIDR form, or one address.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

fn expression(place: &Place<'_>) -> Option<Expression> {
    match Expression::compile(place.string()?, &[]) {
        Ok(expression) => Some(expression),
        Err(error) => {
            let hint = error.hint.unwrap_or_else(|| {
                "it is jq over the event, as in `.data.total > 100` or `.type != \"x\"`".to_owned()
            });
            place.fault_with(error.message, hint);
            None
        }
    }
}
