//! All destinations, and which one a call goes to.
//!
//! The table is replaced as a whole when definitions change; what a destination has in flight
//! stays with its name. Calls to addresses nobody declares get a destination per origin, of which
//! a bounded number is remembered.

mod origins;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use url::Url;

use super::admission::{Admission, Away, Common, Entry, Terms};
use super::egress::{self, Guard, Reach, Refusal};
use super::metrics::{Metrics, Series};
use super::permit::{Gate, Permit};
use super::token::{Sharing, Tokens};
use super::{Config, Document, Error};
use crate::run::{Action, Effect};
use crate::secret::Secrets;

use origins::Origins;

/// How long a call waits here for a token it has asked for, and how often it asks.
const TOKEN_WAIT: Duration = Duration::from_millis(200);
const ASKS_MAX: u32 = 3;

/// The scheme of URIs that name a destination instead of a host.
const NAMED: &str = "destination://";

/// A destination as it stands in the database.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its queue: the same over all its versions, never 0.
    pub number: i32,
    /// Which version of it.
    pub version: i32,
    /// Its checked document.
    pub document: Arc<Document>,
}

/// Where calls go: a declared API, or an origin that no destination declares.
pub struct Destination {
    number: i32,
    version: i32,
    name: Arc<str>,
    /// None for an undeclared origin.
    pub(super) document: Option<Arc<Document>>,
    /// The origin of its base URL or, undeclared, of the calls; none where a URI is unusable.
    pub(super) origin: Option<Origin>,
    pub(super) client: Result<reqwest::Client, Refusal>,
    pub(super) timeout: Duration,
    pub(super) series: Series,
    pub(super) admission: Arc<Admission>,
    gate: Arc<Gate>,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    pub(super) fn of(url: &Url) -> Option<Self> {
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Whether the URL has this origin; allocates nothing.
    pub(super) fn is_of(&self, url: &Url) -> bool {
        url.scheme() == self.scheme
            && url.host_str() == Some(self.host.as_str())
            && url.port_or_known_default() == Some(self.port)
    }
}

impl Destination {
    /// The queue its calls wait in; 0 for undeclared origins.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.number
    }

    /// Its name; for an undeclared origin `undeclared`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many calls wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gate.waiting()
    }

    /// A place for one call, where there is one now.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.gate.try_acquire()
    }

    /// Whether a call may begin now; else after which time to ask again.
    ///
    /// # Errors
    /// That time, where the destination is down or asked to be left alone.
    pub fn check(&self) -> Result<(), Duration> {
        self.admission.check(self.gate.limit())
    }

    /// A place for one call that begins now, as soon as there is one.
    ///
    /// # Errors
    /// After which time to ask again, where the destination is down or asked to be left alone,
    /// also if it is so only when there is a place.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Duration> {
        let permit = match self.gate.try_acquire() {
            Some(permit) => permit,
            None => tokio::select! {
                permit = self.gate.acquire() => permit,
                () = self.admission.shut() => {
                    self.check()?;
                    self.gate.acquire().await
                }
            },
        };
        for _ in 0..ASKS_MAX {
            let mut granted = std::pin::pin!(self.admission.granted());
            granted.as_mut().enable();
            match self.admission.enter(self.gate.limit()) {
                Ok(Entry::Plain) => return Ok(permit),
                Ok(Entry::Probe) => return Ok(permit.probing(&self.admission)),
                Err(Away::Later(pause)) => return Err(pause),
                Err(Away::Soon) => {
                    let _late = tokio::time::timeout(TOKEN_WAIT, granted).await;
                }
            }
        }
        Err(TOKEN_WAIT)
    }

    /// A call has been sent back to wait.
    pub fn sent_back(&self) {
        self.series.sent_back();
    }

    /// A place for one call, as soon as there is one.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        self.gate.acquire().await
    }

    /// Calls that may be in flight on this node at a time.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.gate.limit()
    }

    /// Whether the URL lies under the base URL, on a boundary of path segments.
    pub(super) fn covers(&self, url: &Url) -> bool {
        let (Some(origin), Some(document)) = (&self.origin, &self.document) else {
            return false;
        };
        let base = document.base_url.path().trim_end_matches('/');
        origin.is_of(url)
            && url
                .path()
                .strip_prefix(base)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn base_chars(&self) -> usize {
        self.document
            .as_ref()
            .map_or(0, |document| document.base_url.path().len())
    }
}

/// All destinations, and the HTTP clients.
pub struct Destinations {
    table: ArcSwap<Table>,
    origins: Origins,
    pub(super) guard: Guard,
    pub(super) config: Config,
    pub(super) secrets: Arc<Secrets>,
    pub(super) tokens: Arc<Tokens>,
    /// Whether nodes agree on which destinations are down; else none ever is.
    agreeing: bool,
    pub(super) news: Notify,
    pub(super) common: Arc<Common>,
    metrics: Metrics,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Arc<str>, Arc<Destination>>,
    /// Those of one host, the longest base URL first.
    by_host: HashMap<String, Vec<Arc<Destination>>>,
}

impl Destinations {
    /// The destinations declared now; their metrics go to `registry`.
    ///
    /// # Errors
    /// [`Error`] for a wrong network in the configuration, where TLS cannot be set up, and where
    /// the registry holds these metrics already.
    pub fn new(
        declared: Vec<Declared>,
        secrets: Arc<Secrets>,
        config: Config,
        registry: &prometheus::Registry,
    ) -> Result<Self, Error> {
        let metrics = Metrics::new(registry)?;
        let allow = config
            .egress_allow
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<_>, _>>()?;
        let connections = egress::Connections {
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            idle_max: config.idle_connections_max,
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
        };
        let ports = config.egress_ports.clone();
        let guard = Guard::new(allow, ports, connections, egress::resolver::system());
        // Proves at start that clients can be made, so that later ones will not fail.
        guard
            .client(&Reach::Public(Vec::new()))
            .map_err(Error::Client)?;
        let lost = unusable(&metrics, &config);
        let destinations = Self {
            table: ArcSwap::default(),
            origins: Origins::new(lost, config.origins_max),
            guard,
            config,
            tokens: Arc::new(Tokens::new(Arc::clone(&secrets), None)),
            secrets,
            agreeing: false,
            news: Notify::new(),
            common: Arc::default(),
            metrics,
        };
        destinations.reload(declared)?;
        Ok(destinations)
    }

    /// The same, sharing access tokens with the other nodes, and what is known of destinations.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.agreeing = true;
        self.tokens = Arc::new(Tokens::new(Arc::clone(&self.secrets), Some(sharing)));
        self
    }

    /// Replaces the declared destinations; calls in flight and their permits are not disturbed.
    /// One caller at a time.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn reload(&self, declared: Vec<Declared>) -> Result<(), Error> {
        let before = self.table.load();
        let mut table = Table::default();
        for declared in declared {
            let old = before.by_name.get(declared.document.name.as_str());
            let destination = Arc::new(self.declare(declared, old)?);
            if let Some(origin) = &destination.origin {
                let hosts = table.by_host.entry(origin.host.clone()).or_default();
                hosts.push(Arc::clone(&destination));
            }
            let name = Arc::clone(&destination.name);
            table.by_name.insert(name, destination);
        }
        for destinations in table.by_host.values_mut() {
            destinations.sort_by_key(|destination| std::cmp::Reverse(destination.base_chars()));
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// How many more runs may be taken on for the destination of this number, where so many may
    /// wait for a place in memory. Counting free places instead would leave parked runs behind
    /// for as long as newer ones keep coming.
    #[must_use]
    pub fn room(&self, number: i32, waiting_max: usize) -> usize {
        let table = self.table.load();
        let mut destinations = table.by_name.values();
        let destination = destinations.find(|destination| destination.id() == number);
        // A destination that is gone holds nobody up: its runs find out when they call it.
        destination.map_or(usize::MAX, |destination| {
            let waiting = waiting_max.saturating_sub(destination.gate.waiting());
            let places = destination.gate.limit();
            destination.admission.room(waiting, places)
        })
    }

    /// Those declared now.
    pub(super) fn declared(&self) -> Vec<Arc<Destination>> {
        self.table.load().by_name.values().cloned().collect()
    }

    /// The destination an effect goes to.
    #[must_use]
    pub fn of(&self, effect: &Effect) -> Arc<Destination> {
        let Action::Call(request) = &effect.action;
        if let Some((name, _)) = named(&request.uri) {
            let table = self.table.load();
            let found = table.by_name.get(name).cloned();
            return found.unwrap_or_else(|| self.origins.unusable());
        }
        let url = egress::parse(&request.uri).ok();
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            return self.origins.unusable();
        };
        let table = self.table.load();
        let declared = table.by_host.get(host).and_then(|destinations| {
            destinations
                .iter()
                .find(|destination| destination.covers(url))
        });
        if let Some(destination) = declared {
            return Arc::clone(destination);
        }
        drop(table);
        match Origin::of(url) {
            Some(origin) => self
                .origins
                .get(origin, |origin| self.undeclared(url, origin)),
            None => self.origins.unusable(),
        }
    }

    /// The client for a URL outside of a destination's origin: the target of a redirect.
    pub(super) fn client_for(
        &self,
        url: &Url,
        destination: &Destination,
    ) -> Result<reqwest::Client, Refusal> {
        let extra = destination.document.as_deref().map(|d| d.allow.as_slice());
        let reach = self.guard.admit(url, extra.unwrap_or_default())?;
        self.guard
            .client(&reach)
            .map_err(|_| Refusal::Blocked("the client could not be set up"))
    }

    fn declare(
        &self,
        declared: Declared,
        before: Option<&Arc<Destination>>,
    ) -> Result<Destination, Error> {
        let Declared {
            number,
            version,
            document,
        } = declared;
        let limit = document.concurrency.unwrap_or(self.config.concurrency);
        let gate = match before {
            Some(before) => {
                before.gate.resize(limit);
                Arc::clone(&before.gate)
            }
            None => Gate::new(limit),
        };
        let admission = match before {
            Some(before) => Arc::clone(&before.admission),
            None => Arc::new(Admission::new(&self.common)),
        };
        let terms = self.agreeing.then(|| Terms {
            circuit: document.circuit_breaker.clone(),
            limit: document.rate_limit.clone(),
        });
        let changed = before.is_some_and(|before| before.version != version);
        admission.renew(terms, changed);
        let client = match self.guard.admit(&document.base_url, &document.allow) {
            Ok(reach) => Ok(self.guard.client(&reach).map_err(Error::Client)?),
            Err(refusal) => Err(refusal),
        };
        let timeout = document
            .timeout
            .unwrap_or_else(|| default_timeout(&self.config));
        Ok(Destination {
            number,
            name: document.name.as_str().into(),
            origin: Origin::of(&document.base_url),
            client,
            timeout,
            series: self.metrics.declared(&document.name),
            version,
            admission,
            gate,
            document: Some(document),
        })
    }

    fn undeclared(&self, url: &Url, origin: Origin) -> Destination {
        let client = self.guard.admit(url, &[]).and_then(|reach| {
            self.guard
                .client(&reach)
                .map_err(|_| Refusal::Blocked("the client could not be set up"))
        });
        Destination {
            origin: Some(origin),
            client,
            ..unusable(&self.metrics, &self.config)
        }
    }
}

/// Splits `destination://name/path` into the name and the rest.
pub(super) fn named(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix(NAMED)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

fn default_timeout(config: &Config) -> Duration {
    Duration::from_millis(config.timeout_ms)
}

/// Where calls go that cannot be sent: a URI that is none, or the name of no destination.
fn unusable(metrics: &Metrics, config: &Config) -> Destination {
    Destination {
        number: 0,
        name: super::metrics::UNDECLARED.into(),
        document: None,
        origin: None,
        client: Err(Refusal::Invalid("it leads nowhere")),
        timeout: default_timeout(config),
        series: metrics.undeclared(),
        version: 0,
        admission: Arc::new(Admission::new(&Arc::default())),
        gate: Gate::new(config.concurrency),
    }
}
