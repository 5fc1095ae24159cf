//! How far a connection is with a request, so that a slow head can be told from an idle wait.
//!
//! hyper has one timer for both. Here the first byte after a pause starts the clock of the head,
//! and the request's arrival at the service stops it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt;

use crate::webhook::Peer;

/// How often the clock of a head is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// No request is being read.
const IDLE: u64 = 0;
/// A request is being served, or the connection speaks HTTP/2, which has limits of its own.
const BUSY: u64 = u64::MAX;

/// Progress of one connection: idle, busy, or the time at which the head began, in milliseconds
/// since the connection was made, plus one.
pub struct Pace {
    made_at: Instant,
    state: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        // A new connection owes its first request at once.
        Self {
            made_at: Instant::now(),
            state: AtomicU64::new(1),
        }
    }
}

impl Pace {
    fn read_something(&self) {
        let now = u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(BUSY - 2) + 1;
        let _other = self
            .state
            .compare_exchange(IDLE, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Returns when the head of a request has been coming for longer than `deadline`.
    pub async fn overdue(&self, deadline: Duration) {
        loop {
            tokio::time::sleep(LOOK_PERIOD.min(deadline)).await;
            let state = self.state.load(Ordering::Acquire);
            if state == IDLE || state == BUSY {
                continue;
            }
            if self.made_at.elapsed() >= Duration::from_millis(state - 1) + deadline {
                return;
            }
        }
    }

    /// The router as hyper's service, noting when requests come and go; each has its peer among
    /// its extensions.
    pub fn service(self: &Arc<Self>, router: Router, peer: Peer) -> Service {
        Service {
            pace: Arc::clone(self),
            router,
            peer,
        }
    }
}

/// See [`Pace::service`].
pub struct Service {
    pace: Arc<Pace>,
    router: Router,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let pace = Arc::clone(&self.pace);
        let router = self.router.clone();
        let after = if request.version() == Version::HTTP_2 {
            BUSY
        } else {
            IDLE
        };
        pace.state.store(BUSY, Ordering::Release);
        request.extensions_mut().insert(self.peer);
        Box::pin(async move {
            let response = router.oneshot(request.map(Body::new)).await;
            pace.state.store(after, Ordering::Release);
            response
        })
    }
}

/// A stream that tells its pace when something was read.
pub struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    /// Wraps a stream.
    pub const fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.read_something();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
