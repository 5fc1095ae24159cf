//! A receiver that does exactly what a test tells it, down to the bytes on the wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    /// The value of a header; all of them joined where it came more than once.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(" | "))
    }
}

/// What the receiver does with a request.
pub enum Play {
    /// Writes these bytes and keeps the connection.
    Answer(Vec<u8>),
    /// Writes these bytes and closes the connection.
    Close(Vec<u8>),
    /// Writes the first bytes, then the second again and again with a pause between.
    Endless(Vec<u8>, Vec<u8>, Duration),
    /// Writes these bytes and then nothing, for ever.
    Hang(Vec<u8>),
}

/// A whole answer with a length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Play {
    Play::Answer(bytes(status, headers, body.as_bytes()))
}

/// A whole answer that is JSON.
pub fn json(status: u16, body: &str) -> Play {
    answer(status, &[("content-type", "application/json")], body)
}

/// The bytes of an answer with a length.
pub fn bytes(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A running receiver; it ends with the test's runtime.
pub struct Sink {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Script = dyn Fn(&Seen, usize) -> Play + Send + Sync;

impl Sink {
    /// Starts one; the script is given each request and its number, from 1.
    pub async fn start(script: impl Fn(&Seen, usize) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { port, seen }
    }

    /// One that always says the same.
    pub async fn saying(status: u16, body: &'static str) -> Self {
        Self::start(move |_, _| json(status, body)).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub fn one(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = receive(&mut stream).await {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len()
        };
        if !play(&mut stream, script(&seen, number)).await {
            return;
        }
    }
}

/// Acts on a request; false where the connection has ended.
async fn play(stream: &mut BufReader<TcpStream>, play: Play) -> bool {
    match play {
        Play::Answer(bytes) => stream.write_all(&bytes).await.is_ok(),
        Play::Close(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            false
        }
        Play::Endless(head, more, pause) => {
            let mut alive = stream.write_all(&head).await.is_ok();
            while alive {
                alive = stream.write_all(&more).await.is_ok() && stream.flush().await.is_ok();
                tokio::time::sleep(pause).await;
            }
            false
        }
        Play::Hang(head) => {
            let _ = stream.write_all(&head).await;
            // Ends when the client gives up and closes.
            let _ = stream.read(&mut [0; 1]).await;
            false
        }
    }
}

async fn receive(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
