//! HTTP/1.1 by hand, so that a test decides over every byte and every pause.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// No answer takes longer in a test that goes well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request to be written.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, path: &str, body: impl Into<Vec<u8>>) -> Self {
        let (path, headers) = (path.to_owned(), Vec::new());
        Self {
            method,
            path,
            headers,
            body: body.into(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    /// Its head as sent, with host and length.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: localhost\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        text.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The JSON of an answer that must be good.
    pub fn good(&self) -> serde_json::Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.text()
        );
        self.json()
    }
}

/// One connection.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes).await
    }

    /// Reads one answer; an error where the connection ends before.
    pub async fn read(&mut self) -> io::Result<Answer> {
        let read = tokio::time::timeout(PATIENCE, self.read_now());
        read.await.map_err(|_| io::Error::other("no answer"))?
    }

    async fn read_now(&mut self) -> io::Result<Answer> {
        let first = self.head_line().await?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.head_line().await?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let body = match answer.header("content-length") {
            Some(length) => {
                self.exactly(length.parse().map_err(io::Error::other)?)
                    .await?
            }
            None if answer.header("transfer-encoding").is_some() => self.chunks().await?,
            None => Vec::new(),
        };
        Ok(Answer { body, ..answer })
    }

    async fn head_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.head_line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            body.extend(self.exactly(size).await?);
            self.head_line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Whether the peer closes within `at_most`; what it still sends is not looked at.
    pub async fn closes_within(&mut self, at_most: Duration) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        tokio::time::timeout(at_most, read).await.is_ok()
    }
}

/// Whom to talk to; every request has a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: SocketAddr,
}

impl Client {
    pub async fn try_send(&self, request: &Request) -> io::Result<Answer> {
        let mut line = Line::open(self.address).await?;
        line.write(&request.clone().header("connection", "close").bytes())
            .await?;
        line.read().await
    }

    pub async fn send(&self, request: &Request) -> Answer {
        let answer = self.try_send(request).await;
        answer.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&Request::new("GET", path, "")).await
    }

    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(&Request::new("PUT", path, body)).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(&Request::new("POST", path, body)).await
    }

    /// A counter or gauge of `/metrics`, all its label values added up; 0 where there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = match rest.strip_prefix('{') {
                Some(labels) => labels.split_once('}')?.1,
                None => rest,
            };
            rest.strip_prefix(' ')?.parse::<f64>().ok()
        });
        values.sum()
    }
}
