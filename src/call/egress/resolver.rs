//! Resolving names for connections: only allowed addresses come back, or none at all.
//!
//! The client dials exactly what this returns and asks nobody else. A name of which any answer is
//! forbidden is refused whole: such answers are a sign of rebinding, never of a healthy API.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses;

/// Addresses of one name that are looked at; a longer answer is refused.
const ADDRESSES_MAX: usize = 64;

/// The addresses of a name, on the way.
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks for the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// What a client may dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Public addresses, and these networks.
    Public(Vec<IpNet>),
    /// These networks alone.
    Listed(Vec<IpNet>),
}

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It has no address, or could not be asked for.
    #[error("the name cannot be resolved")]
    Unknown,
    /// It has an address that may not be dialled.
    #[error("blocked by egress policy")]
    Blocked,
}

impl Reach {
    /// Whether only listed networks may be dialled.
    #[must_use]
    pub const fn is_listed_only(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// The addresses of `name` that may be dialled, in the order given.
    ///
    /// # Errors
    /// [`Unreachable::Blocked`] where any of them is forbidden. For `localhost`, which no
    /// outsider answers for, the allowed ones are picked instead.
    pub fn select(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Unreachable> {
        if found.is_empty() {
            return Err(Unreachable::Unknown);
        }
        let total = found.len();
        let admitted: Vec<IpAddr> = found.into_iter().filter(|a| self.admits(*a)).collect();
        let complete = admitted.len() == total && total <= ADDRESSES_MAX;
        if complete || (is_localhost(name) && !admitted.is_empty()) {
            Ok(admitted)
        } else {
            Err(Unreachable::Blocked)
        }
    }

    fn admits(&self, address: IpAddr) -> bool {
        match self {
            Self::Public(listed) => {
                !addresses::is_forbidden(address) || addresses::contained(listed, address)
            }
            Self::Listed(listed) => addresses::contained(listed, address),
        }
    }
}

/// The lookup of the operating system; `localhost` is answered without asking (RFC 6761).
#[must_use]
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            if is_localhost(&name) {
                return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
            }
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// The resolver of one client.
pub(super) struct Guarded {
    reach: Arc<Reach>,
    lookup: Lookup,
}

impl Guarded {
    pub(super) fn new(reach: Reach, lookup: Lookup) -> Self {
        Self {
            reach: Arc::new(reach),
            lookup,
        }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.reach);
        let name = name.as_str().to_owned();
        let answer = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = answer.await.map_err(|_| Unreachable::Unknown)?;
            let admitted = reach.select(&name, found)?;
            // Port 0 stands for the port of the URI.
            let addresses = admitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
