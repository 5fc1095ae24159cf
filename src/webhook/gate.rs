//! The gate of a source: what a delivery must have before its body is read.
//!
//! Called by the door with the head of a request. What a stranger must not learn (whether he came
//! from the right place, whether he knows the token) is told to him as a bad signature is, after
//! the same work; the rest is answered at once.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::request::Parts;
use http::{HeaderMap, header};
use ipnet::IpNet;
use secrecy::ExposeSecret;

use super::source::Rate;
use super::{Admission, Rejection};

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The header in which proxies say for whom they speak.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Hops that are looked at; further ones are the client's own words.
const HOPS_MAX: usize = 32;

/// How many deliveries one node takes for a source.
pub struct Limiter {
    rate: Rate,
    limiter: DefaultDirectRateLimiter,
}

impl Limiter {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(rate: Rate) -> Option<Self> {
        let quota = Quota::with_period(rate.period)?.allow_burst(rate.burst);
        let limiter = RateLimiter::direct(quota);
        Some(Self { rate, limiter })
    }

    /// Whether it is for this rate.
    #[must_use]
    pub fn is_for(&self, rate: Rate) -> bool {
        self.rate == rate
    }

    /// Takes one delivery.
    ///
    /// # Errors
    /// In how many seconds there is room for one.
    fn take(&self) -> Result<(), u32> {
        self.limiter.check().map_err(|full| {
            let wait = full.wait_time_from(DefaultClock::default().now());
            u32::try_from(wait.as_secs())
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        })
    }
}

impl Admission {
    /// What the head of a request must have. `is_empty`: it has no body.
    ///
    /// # Errors
    /// What it lacks.
    pub fn enter(
        &self,
        parts: &Parts,
        is_empty: bool,
        trusted_proxies: &[IpNet],
    ) -> Result<(), Rejection> {
        let source = &self.source;
        if !source.intake.networks.is_empty() {
            let peer = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
            let client = peer.and_then(|peer| client(peer, &parts.headers, trusted_proxies));
            let known = |client: IpAddr| {
                let mut networks = source.intake.networks.iter();
                networks.any(|network| network.contains(&client))
            };
            if !client.is_some_and(known) {
                return Err(Rejection::Address);
            }
        }
        self.token(parts.uri.path())?;
        let method = parts.method.as_str();
        if !source.methods.is_empty() && !source.methods.iter().any(|known| known == method) {
            return Err(Rejection::Method);
        }
        if !source.content_types.is_empty() && !is_empty {
            let media = parts.headers.get(header::CONTENT_TYPE);
            let media = media.and_then(|media| media.to_str().ok());
            let essence = media.unwrap_or_default().split(';').next();
            let essence = essence.unwrap_or_default().trim();
            let mut known = source.content_types.iter();
            if !known.any(|known| known.eq_ignore_ascii_case(essence)) {
                return Err(Rejection::ContentType);
            }
        }
        match &self.limiter {
            None => Ok(()),
            Some(limiter) => limiter
                .take()
                .map_err(|retry_after_s| Rejection::RateLimit { retry_after_s }),
        }
    }

    /// The token in the path, where the source has one.
    fn token(&self, path: &str) -> Result<(), Rejection> {
        let Some(reference) = &self.source.path_token else {
            return Ok(());
        };
        let given = path.split('/').nth(3).unwrap_or_default();
        let token = self.secrets.resolve(reference);
        let token = token.ok_or(Rejection::PathToken)?;
        let token = token.expose_secret().trim();
        let same = verify_slices_are_equal(token.as_bytes(), given.as_bytes());
        if token.is_empty() || same.is_err() {
            return Err(Rejection::PathToken);
        }
        Ok(())
    }
}

/// Who sent a request: the peer, or whom the nearest of our proxies names. Each proxy appends the
/// address it was called from, so from the end on the first one that is not a proxy of ours is the
/// client; what stands before it, the client can have written itself.
fn client(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    let trusted = |address: &IpAddr| {
        let mut networks = trusted_proxies.iter();
        networks.any(|network| network.contains(address))
    };
    let peer = peer.to_canonical();
    if !trusted(&peer) {
        return Some(peer);
    }
    let values = headers.get_all(FORWARDED_FOR).iter();
    let values: Vec<_> = values.map(|value| value.to_str().ok()).collect();
    let mut last = peer;
    for value in values.into_iter().rev() {
        for hop in value?.rsplit(',').take(HOPS_MAX) {
            last = address(hop.trim())?;
            if !trusted(&last) {
                return Some(last);
            }
        }
    }
    Some(last)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let address = text.parse().ok().or_else(with_port);
    address.map(|address: IpAddr| address.to_canonical())
}
