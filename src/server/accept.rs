//! The accept loop: connections with caps and deadlines of their own.
//!
//! `axum::serve` has neither (RELIABILITY M3), so connections are served through hyper here: a cap
//! in all and per address, a deadline for the head of a request, one for idleness, and an orderly
//! end when the server drains.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::{Pace, Paced};
use super::{Http, Metrics};
use crate::webhook::Peer;

/// Pause after the system refused a connection (no file descriptor left), so as not to spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// Frames of resets a peer may cause before its connection is closed (HTTP/2 rapid reset).
const HTTP2_RESETS_MAX: usize = 64;

/// Serves connections until `stop`, then tells the open ones to end and returns when they have.
pub async fn serve(listener: TcpListener, router: Router, door: Door, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let door = Arc::new(door);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&door, stream, peer, (&tasks, &router, &stop)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// What bounds the connections of one listener.
pub struct Door {
    http: Http,
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    metrics: Arc<Metrics>,
}

impl Door {
    /// A door with the limits of `http`.
    #[must_use]
    pub fn new(http: &Http, metrics: Arc<Metrics>) -> Self {
        let all = Arc::new(Semaphore::new(http.connections_max));
        Self {
            http: http.clone(),
            all,
            by_address: Arc::default(),
            metrics,
        }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_insert(0);
        if *count >= self.http.connections_per_address_max {
            return None;
        }
        *count += 1;
        self.metrics.connections.inc();
        let (by_address, metrics) = (Arc::clone(&self.by_address), Arc::clone(&self.metrics));
        Some(Place {
            address,
            by_address,
            metrics,
            _permit: permit,
        })
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let idle = Duration::from_millis(self.http.idle_timeout_ms);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_headers(self.http.headers_max)
            .max_buf_size(self.http.header_bytes_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.http.http2_streams_max)
            .max_header_list_size(u32::try_from(self.http.header_bytes_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
            .max_local_error_reset_streams(HTTP2_RESETS_MAX)
            .keep_alive_interval(idle)
            .keep_alive_timeout(idle);
        builder
    }
}

/// A connection's place at the door; given back when dropped.
struct Place {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
        self.metrics.connections.dec();
    }
}

fn admit(
    door: &Arc<Door>,
    stream: TcpStream,
    peer: SocketAddr,
    (tasks, router, stop): (&TaskTracker, &Router, &CancellationToken),
) {
    let Some(place) = door.enter(peer.ip()) else {
        door.metrics.connections_refused.inc();
        return;
    };
    let (door, router, stop) = (Arc::clone(door), router.clone(), stop.clone());
    tasks.spawn(async move {
        let _place = place;
        converse(&door, (stream, Peer(peer.ip())), router, stop).await;
    });
}

async fn converse(
    door: &Door,
    (stream, peer): (TcpStream, Peer),
    router: Router,
    stop: CancellationToken,
) {
    // Answers are small and must leave at once.
    let _without = stream.set_nodelay(true);
    let pace = Arc::new(Pace::default());
    let io = TokioIo::new(Paced::new(stream, Arc::clone(&pace)));
    let service = pace.service(router, peer);
    let builder = door.builder();
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let head_deadline = Duration::from_millis(door.http.header_timeout_ms);
    let mut draining = false;
    loop {
        tokio::select! {
            // Errors here are the peer's: it went away or spoke nonsense; hyper has answered.
            _ended = connection.as_mut() => return,
            () = pace.overdue(head_deadline) => return,
            () = stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
