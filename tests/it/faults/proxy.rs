//! A TCP proxy before Postgres that delays what passes through it, and can cut it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use url::Url;

/// Bytes moved at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where Postgres listens.
#[derive(Clone, Debug)]
enum Upstream {
    Socket(PathBuf),
    Port(String),
}

impl Upstream {
    fn of(url: &Url) -> Self {
        let port = url.port().unwrap_or(5432);
        let host = url.query_pairs().find(|(name, _)| name == "host");
        match host {
            Some((_, dir)) => Self::Socket(PathBuf::from(format!("{dir}/.s.PGSQL.{port}"))),
            None => Self::Port(format!("{}:{port}", url.host_str().unwrap())),
        }
    }
}

/// Starts a proxy that holds every chunk for up to twice `delay`; the database's URL through it.
pub async fn start(url: &str, delay: Duration) -> String {
    let mut url = Url::parse(url).unwrap();
    let upstream = Upstream::of(&url);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(join(client, upstream.clone(), delay));
        }
    });
    url.set_query(None);
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(address.port())).unwrap();
    url.into()
}

async fn join(client: TcpStream, upstream: Upstream, delay: Duration) {
    let _without = client.set_nodelay(true);
    match upstream {
        Upstream::Socket(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                exchange(client, server.into_split(), delay).await;
            }
        }
        Upstream::Port(address) => {
            if let Ok(server) = TcpStream::connect(address).await {
                exchange(client, server.into_split(), delay).await;
            }
        }
    }
}

/// Moves bytes both ways until one side ends, then drops both.
async fn exchange<R, W>(client: TcpStream, (from, to): (R, W), delay: Duration)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (client_from, client_to) = client.into_split();
    tokio::select! {
        () = pump(client_from, to, delay) => {}
        () = pump(from, client_to, delay) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let share = rand::rng().random_range(0.0..2.0);
        tokio::time::sleep(delay.mul_f64(share)).await;
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
