//! How the commands talk to a running server: over its own API, like anyone else.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::call::egress::{Connections, Guard, resolver};

/// How long a server may take to answer a command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to talk to.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// The server.
    #[arg(
        long,
        env = "HOOKWRIGHT_SERVER",
        global = true,
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// An API key; none is needed while the server has none.
    #[arg(
        long,
        env = "HOOKWRIGHT_API_KEY",
        hide_env_values = true,
        global = true
    )]
    api_key: Option<String>,
}

/// A connection to a server's API.
pub struct Client {
    base: String,
    api_key: Option<String>,
    http: reqwest::Client,
}

/// What a server answered.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, where it is JSON.
    pub body: Value,
}

impl Remote {
    /// A client for the server named.
    ///
    /// # Errors
    /// Where the address is no URL.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.server, self.api_key.clone())
    }

    /// Exit code 0 when the server is ready, 1 when it is not.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn healthcheck(&self) -> anyhow::Result<ExitCode> {
        let answer = self.client()?.send("GET", "/readyz", None, &[]).await?;
        if answer.status == 200 {
            return Ok(ExitCode::SUCCESS);
        }
        super::say(answer.body["detail"].as_str().unwrap_or("not ready"));
        Ok(ExitCode::FAILURE)
    }
}

impl Client {
    /// A client for the server at `base`.
    ///
    /// # Errors
    /// Where `base` is no HTTP URL.
    pub fn new(base: &str, api_key: Option<String>) -> anyhow::Result<Self> {
        let url = url::Url::parse(base).with_context(|| format!("{base} is no URL"))?;
        // The person who runs the command names the server, so any address is meant.
        let anywhere = ["0.0.0.0/0", "::/0"];
        let allow = anywhere
            .iter()
            .map(|net| net.parse())
            .collect::<Result<Vec<_>, _>>()?;
        let ports = url.port_or_known_default().into_iter().collect();
        let connections = Connections {
            connect_timeout: Duration::from_secs(5),
            idle_max: 4,
            idle_timeout: Duration::from_secs(30),
        };
        let guard = Guard::new(allow, ports, connections, resolver::system());
        let reach = guard
            .admit(&url, &[])
            .map_err(|_| anyhow::anyhow!("{base} cannot be called"))?;
        let http = guard.client(&reach)?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            api_key,
            http,
        })
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let method = http::Method::from_bytes(method.as_bytes())?;
        let mut request = self.http.request(method, url).timeout(TIMEOUT);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{} does not answer; is the server running?", self.base))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.context("the answer was cut off")?;
        Ok(Answer {
            status,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }

    /// Sends JSON or text and insists on a 2xx.
    ///
    /// # Errors
    /// With the server's own words where it refuses.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Value> {
        let json = [("content-type", "application/json")];
        let answer = self.send(method, path, body, &json).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let detail = answer.body["detail"]
            .as_str()
            .or_else(|| answer.body["title"].as_str());
        bail!(
            "{method} {path}: {} {}",
            answer.status,
            detail.unwrap_or("")
        )
    }
}
