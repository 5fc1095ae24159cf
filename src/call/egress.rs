//! The egress guard: decides which addresses calls may reach, and builds the only HTTP clients.
//!
//! Every outbound request of the server goes through a client made here. The guard decides on the
//! parsed host, never on the text: literal addresses at once, names when they are resolved for a
//! connection (`resolver`), so that a name that changes its mind between check and use gains
//! nothing. It sends no request itself, and it knows neither credentials nor retries.

pub mod addresses;
pub mod resolver;
pub mod tls;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use rustls_platform_verifier::BuilderVerifierExt;
use url::{Host, Url};

pub use addresses::Allowance;
pub use resolver::{Lookup, Reach, Unreachable};

/// Names that mean something only inside a network, with their subdomains.
const INNER_SUFFIXES: [&str; 5] = ["localhost", "local", "internal", "svc", "metadata.goog"];

/// Characters of a URI at most; beyond it the call is refused.
pub const URI_CHARS_MAX: usize = 8 * 1024;

/// Why a request must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URI cannot be used at all; the reason is about its text alone.
    #[error("the URI is not usable: {0}")]
    Invalid(&'static str),
    /// The policy forbids the target; the cause is for the operator's log only.
    #[error("blocked by egress policy")]
    Blocked(&'static str),
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The system's root certificates or the cryptography.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The client itself.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// How clients connect and keep connections.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Name resolution, TCP and TLS together at most.
    pub connect_timeout: Duration,
    /// Idle connections kept for one origin.
    pub idle_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
}

/// Clients with TLS of their own that are remembered.
const OWN_MAX: usize = 1_000;

/// The server-wide policy, and the clients that obey it.
pub struct Guard {
    allow: Vec<Allowance>,
    ports: Vec<u16>,
    connections: Connections,
    lookup: Lookup,
    clients: Mutex<HashMap<Reach, reqwest::Client>>,
    own: Mutex<HashMap<(Reach, tls::Digest), reqwest::Client>>,
}

impl Guard {
    /// A guard that reaches the public internet on `ports`, and what `allow` names on any port.
    /// Names are resolved by `lookup`; [`resolver::system`] asks the operating system.
    #[must_use]
    pub fn new(
        allow: Vec<Allowance>,
        ports: Vec<u16>,
        connections: Connections,
        lookup: Lookup,
    ) -> Self {
        Self {
            allow,
            ports,
            connections,
            lookup,
            clients: Mutex::new(HashMap::new()),
            own: Mutex::new(HashMap::new()),
        }
    }

    /// What a request for `url` may reach, where a destination also allows `extra`.
    ///
    /// # Errors
    /// [`Refusal`] where the scheme, the port, a literal address or a special name is forbidden.
    pub fn admit(&self, url: &Url, extra: &[Allowance]) -> Result<Reach, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Invalid("only http and https are supported"));
        }
        anonymous(url)?;
        let port = url
            .port_or_known_default()
            .ok_or(Refusal::Invalid("it has no port"))?;
        let listed = self.listed(port, extra);
        let ordinary_port = self.ports.contains(&port);
        match url.host() {
            Some(Host::Ipv4(address)) => literal(address.into(), ordinary_port, listed),
            Some(Host::Ipv6(address)) => literal(address.into(), ordinary_port, listed),
            Some(Host::Domain(name)) => named(name, ordinary_port, listed),
            None => Err(Refusal::Invalid("it has no host")),
        }
    }

    /// The client that reaches exactly this; the same for the same reach.
    ///
    /// # Errors
    /// Where TLS cannot be set up, such as without any root certificates.
    pub fn client(&self, reach: &Reach) -> Result<reqwest::Client, ClientError> {
        let mut clients = match self.clients.lock() {
            Ok(clients) => clients,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(client) = clients.get(reach) {
            return Ok(client.clone());
        }
        let client = self.builder(reach, shared_tls()?).build()?;
        clients.insert(reach.clone(), client.clone());
        Ok(client)
    }

    /// A client that reaches exactly this with TLS of its own; the same for the same PEM, so that
    /// connections outlive a reload.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where the certificates or the key cannot be used.
    pub fn client_with(
        &self,
        reach: &Reach,
        pem: tls::Pem<'_>,
    ) -> Result<reqwest::Client, Refusal> {
        let key = (reach.clone(), pem.digest());
        let mut clients = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let config = tls::config(pem).map_err(Refusal::Invalid)?;
        let client = self.builder(reach, config).build();
        let client =
            client.map_err(|_| Refusal::Invalid("TLS cannot be set up with what `tls` names"))?;
        if clients.len() >= OWN_MAX {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Redirects are followed by `perform`, hop by hop; a proxy of the environment would be a way
    /// around the guard; and one layer retries, which is not this one.
    fn builder(&self, reach: &Reach, config: rustls::ClientConfig) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(self.connections.connect_timeout)
            .pool_max_idle_per_host(self.connections.idle_max)
            .pool_idle_timeout(self.connections.idle_timeout)
            .dns_resolver(resolver::Guarded::new(reach.clone(), self.lookup.clone()))
    }

    /// The networks that are allowed on this port.
    fn listed(&self, port: u16, extra: &[Allowance]) -> Vec<IpNet> {
        let mut networks: Vec<IpNet> = self
            .allow
            .iter()
            .chain(extra)
            .filter_map(|allowance| allowance.on_port(port))
            .collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    }
}

/// Reads a URI, refusing what parsers read differently: control characters, spaces, backslashes,
/// an empty authority.
///
/// # Errors
/// [`Refusal::Invalid`] with what is wrong in the text.
pub fn parse(text: &str) -> Result<Url, Refusal> {
    clean(text)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Refusal::Invalid("it is not an absolute http or https URI"));
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::Invalid("only http and https are supported"));
    }
    if rest.starts_with('/') {
        return Err(Refusal::Invalid("it has no host"));
    }
    let url = Url::parse(text).map_err(|_| Refusal::Invalid("its syntax is wrong"))?;
    anonymous(&url)?;
    Ok(url)
}

/// The URI of `rest`, a path with or without a query, under a base that was checked before.
///
/// # Errors
/// [`Refusal::Invalid`] with what is wrong; the text itself is not repeated.
pub fn under(base: &Url, rest: &str) -> Result<Url, Refusal> {
    clean(rest)?;
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    Ok(url)
}

/// Reads the target of a redirect, which may be relative to the URI that answered.
///
/// # Errors
/// As [`parse`].
pub fn join(base: &Url, location: &str) -> Result<Url, Refusal> {
    clean(location)?;
    let mut url = base
        .join(location)
        .map_err(|_| Refusal::Invalid("its syntax is wrong"))?;
    url.set_fragment(None);
    anonymous(&url)?;
    Ok(url)
}

/// Credentials in a URI end up in logs, and would be dropped in silence: better say so.
fn anonymous(url: &Url) -> Result<(), Refusal> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    Err(Refusal::Invalid(
        "it must not contain a user name or password; give the call an `authentication`",
    ))
}

fn clean(text: &str) -> Result<(), Refusal> {
    if text.len() > URI_CHARS_MAX {
        return Err(Refusal::Invalid("it is longer than 8,192 characters"));
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
        return Err(Refusal::Invalid(
            "it contains a space, a control character or a backslash",
        ));
    }
    Ok(())
}

/// TLS as the system trusts it, HTTP/2 preferred. All clients share one set of roots: loading them
/// takes longer than many calls, and they are large. A restart reads them anew.
fn shared_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    static CONFIG: OnceLock<rustls::ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| config).clone())
}

fn literal(address: IpAddr, ordinary_port: bool, listed: Vec<IpNet>) -> Result<Reach, Refusal> {
    if addresses::contained(&listed, address) {
        return Ok(Reach::Listed(listed));
    }
    if !ordinary_port {
        return Err(Refusal::Blocked("the port is not allowed"));
    }
    if addresses::is_forbidden(address) {
        return Err(Refusal::Blocked(
            "the address is not public and not allowed",
        ));
    }
    Ok(Reach::Public(listed))
}

/// A name of an inner network or on an unusual port may only lead to what is listed by hand.
fn named(name: &str, ordinary_port: bool, listed: Vec<IpNet>) -> Result<Reach, Refusal> {
    let inner = is_inner(name);
    if !inner && ordinary_port {
        return Ok(Reach::Public(listed));
    }
    if !listed.is_empty() {
        return Ok(Reach::Listed(listed));
    }
    Err(Refusal::Blocked(if inner {
        "the name belongs to an inner network"
    } else {
        "the port is not allowed"
    }))
}

fn is_inner(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let suffixed = INNER_SUFFIXES.iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    suffixed || !name.contains('.')
}
