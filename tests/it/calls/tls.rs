//! TLS of a destination's own: another authority, and a certificate to show.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::world::World;

const CA: &str = include_str!("../data/tls/ca.pem");
const SERVER: &str = include_str!("../data/tls/server.pem");
const SERVER_KEY: &str = include_str!("../data/tls/server-key.pem");
const CLIENT: &str = include_str!("../data/tls/client.pem");
const CLIENT_KEY: &str = include_str!("../data/tls/client-key.pem");

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    all.collect::<Result<_, _>>().unwrap()
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut bytes = [0; 4_096];
    let _request = stream.read(&mut bytes).await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\
                   content-type: application/json\r\n\r\n{}";
    let _sent = stream.write_all(answer).await;
    let _ended = stream.shutdown().await;
}

/// A server that answers whoever shows a certificate of our authority.
async fn server() -> u16 {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificates(CA).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(clients, Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            certificates(SERVER),
            PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(acceptor.clone(), stream));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_shown_and_another_authority_trusted() {
    let port = server().await;
    let world = World::start().await;
    let client = &world.client;
    for (name, pem) in [("ca", CA), ("shown", CLIENT), ("key", CLIENT_KEY)] {
        let path = format!("/api/v1/secrets/{name}");
        client.put(&path, json!(pem).to_string()).await.good();
    }
    let whole = "ca: {secret: ca}, certificate: {secret: shown}, key: {secret: key}";
    let mut outcomes = Vec::new();
    for (name, tls) in [
        ("whole", format!("tls: {{{whole}}}")),
        ("unshown", "tls: {ca: {secret: ca}}".to_owned()),
        ("untrusted", "timeout: PT5S".to_owned()),
        (
            "unfit",
            "tls: {certificate: {secret: key}, key: {secret: key}}".to_owned(),
        ),
        ("missing", "tls: {ca: {secret: nowhere}}".to_owned()),
    ] {
        let text = format!(
            "{{destination: {name}, baseUrl: 'https://127.0.0.1:{port}', {tls}, \
             retry: {{limit: {{attempt: {{count: 0}}}}}}}}"
        );
        let path = format!("/api/v1/destinations/{name}");
        client.put(&path, text).await.good();
        world
            .workflow(&format!(
                "document: {{dsl: 1.0.3, namespace: test, name: {name}, version: 1.0.0}}
do:
  - call: {{call: http, with: {{method: get, endpoint: 'destination://{name}/x'}}}}
"
            ))
            .await;
        let run = world.run_of(&format!("test/{name}"), &json!({})).await;
        let detail = run["error"]["detail"].as_str().unwrap_or("completed");
        assert!(!run.to_string().contains("PRIVATE"), "{run}");
        outcomes.push((name, detail.to_owned()));
    }
    assert_eq!(outcomes[0].1, "completed", "{outcomes:?}");
    for (name, detail) in &outcomes[1..3] {
        assert!(
            detail.starts_with("no connection") || detail.contains("broke"),
            "{name}: {detail}"
        );
    }
    assert!(outcomes[3].1.contains("no certificate"), "{outcomes:?}");
    assert!(outcomes[4].1.contains("is missing"), "{outcomes:?}");
}
