//! Which addresses are public, and which others the configuration allows.
//!
//! Pure; used by the guard for literals and by its resolver for names. The ranges are those of the
//! IANA special-purpose registries (RFC 6890 and its updates) and of cloud metadata services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// The platform endpoint of Azure guests: a public address that is reachable only from inside.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// A network that may be called although it is not public: `CIDR`, `CIDR:port`, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    network: IpNet,
    port: Option<u16>,
}

/// Why a text is no [`Allowance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network")]
pub struct NotANetwork(String);

impl NotANetwork {
    /// What to write instead.
    pub const HINT: &str = "write CIDR or CIDR:port, such as 10.1.0.0/16 or [fd00::1]:8443";
}

impl Allowance {
    /// The network, where it is allowed on this port.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Option<IpNet> {
        self.port
            .is_none_or(|only| only == port)
            .then_some(self.network)
    }
}

impl FromStr for Allowance {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(network) = network(text) {
            return Ok(Self {
                network,
                port: None,
            });
        }
        text.rsplit_once(':')
            .and_then(|(network_text, port)| {
                let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
                let inner = network_text
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                // Without brackets the last group of an IPv6 address would be read as a port.
                let bare = network_text.contains('/') || !network_text.contains(':');
                let network = match inner {
                    Some(inner) => network(inner)?,
                    None if bare => network(network_text)?,
                    None => return None,
                };
                Some(Self {
                    network,
                    port: Some(port),
                })
            })
            .ok_or_else(|| NotANetwork(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.network),
            None => write!(f, "{}", self.network),
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()
}

/// Whether one of the networks holds the address; IPv4 in IPv6 counts as IPv4.
#[must_use]
pub fn contained(networks: &[IpNet], address: IpAddr) -> bool {
    let plain = address.to_canonical();
    networks
        .iter()
        .any(|network| network.contains(&plain) || network.contains(&address))
}

/// Whether the address is anything but public unicast.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || address == AZURE_PLATFORM
        || match (a, b, c) {
            (0 | 240..=255, _, _) => true, // this network; reserved and broadcast
            (100, 64..=127, _) => true,    // shared by carriers (RFC 6598)
            (192, 0, 0) | (192, 88, 99) => true, // protocol assignments; 6to4 relays
            (198, 18..=19, _) => true,     // benchmarks (RFC 2544)
            _ => false,
        }
}

/// Only 2000::/3 is assigned as global unicast; the rest of IPv6, with every way of embedding an
/// IPv4 address but the mapped one, lies outside or is named here.
fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0..=0x1fff | 0x4000.., ..] => true,
        [0x2001, 0..=0x01ff, ..] => true, // protocol assignments: Teredo, ORCHID, benchmarks
        [0x2001, 0x0db8, ..] => true,     // documentation
        [0x2002, ..] => true,             // 6to4
        [0x3fff, 0..=0x0fff, ..] => true, // documentation (RFC 9637)
        _ => false,
    }
}
