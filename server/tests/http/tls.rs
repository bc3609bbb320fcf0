//! TLS: the same server behind a certificate, which may change while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use server::access::{Certificate, CertificateFiles};
use server::client_connection::ConnectionTimeouts;
use server::http_server::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::app::{CONNECTIONS, PATIENCE, Setup, ids, taking_within, wait_for};
use crate::listening::{Running, SOON, impatient};
use crate::scripted_engine::generate;

fn files(name: &str) -> CertificateFiles {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    CertificateFiles { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) }
}

/// A client that trusts this certificate only.
async fn connect(address: SocketAddr, trusted: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(files(trusted).certificate).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(3).any(|bytes| bytes == b"ok\n") {
        let mut buffer = [0; 1024];
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other_over_tls() {
    let certificate = Certificate::read(&files("one")).unwrap();
    let (server, mut hand) = Running::start_with(Setup::default(), PATIENCE, Some(certificate)).await;
    let mut client = connect(server.address, "one").await.unwrap();
    for _ in 0..2 {
        assert!(get(&mut client, "/health").await.starts_with("HTTP/1.1 200 "));
    }
    let body = json!({"prompt": "p"}).to_string();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all((head + &body).as_bytes()).await.unwrap();
    let submission = hand.submission().await;
    for event in generate(&submission.request, &ids("a b")) {
        submission.events.send(event).unwrap();
    }
    let mut seen = vec![0; 17];
    client.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, b"HTTP/1.1 200 OK\r\n");
    assert!(connect(server.address, "two").await.is_err(), "it proves to be no other");
}

#[tokio::test]
async fn an_ambiguous_head_is_refused_under_tls_as_well() {
    let certificate = Certificate::read(&files("one")).unwrap();
    let (server, _hand) = Running::start_with(Setup::default(), PATIENCE, Some(certificate)).await;
    let mut client = connect(server.address, "one").await.unwrap();
    client.write_all(b"GET /health HTTP/1.1\nhost: localhost\n\n").await.unwrap();
    let mut seen = Vec::new();
    let _ = timeout(PATIENCE, client.read_to_end(&mut seen)).await.expect("it is closed");
    assert!(seen.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&seen));
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let certificate = Certificate::read(&files("one")).unwrap();
    let (server, _hand) = Running::start_with(Setup::default(), PATIENCE, Some(certificate.clone())).await;
    let mut before = connect(server.address, "one").await.unwrap();
    let mixed = CertificateFiles { key: files("two").key, ..files("one") };
    certificate.read_anew(&mixed).unwrap_err();
    assert!(connect(server.address, "one").await.is_ok(), "the one of before stays");
    certificate.read_anew(&files("two")).unwrap();
    assert!(connect(server.address, "two").await.is_ok() && connect(server.address, "one").await.is_err());
    assert!(get(&mut before, "/health").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_gives_its_place_back() {
    let certificate = Certificate::read(&files("one")).unwrap();
    let timeouts =
        ConnectionTimeouts { header: Duration::from_millis(50), keep_alive: PATIENCE, write: taking_within(PATIENCE) };
    let setup = impatient(ConnectionLimits { timeouts, ..CONNECTIONS });
    let (server, _hand) = Running::start_with(setup, PATIENCE, Some(certificate)).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    for client in [&mut silent, &mut plain] {
        let mut seen = Vec::new();
        let _ = timeout(SOON, client.read_to_end(&mut seen)).await.expect("it is closed");
        assert!(!seen.starts_with(b"HTTP"), "nothing is answered without TLS");
    }
    let open = || server.app.api.entrance.metrics.server().connections_open.get();
    wait_for(|| (open() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_under_tls_as_well() {
    let certificate = Certificate::read(&files("one")).unwrap();
    let timeouts = ConnectionTimeouts { write: taking_within(Duration::from_millis(100)), ..CONNECTIONS.timeouts };
    let setup = impatient(ConnectionLimits { timeouts, ..CONNECTIONS });
    let (server, _hand) = Running::start_with(setup, PATIENCE, Some(certificate)).await;
    let mut client = connect(server.address, "one").await.unwrap();
    // Far more answers than all buffers hold; the client takes none of them.
    let asking = async {
        let head = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
        while client.write_all(head).await.is_ok() && client.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("the connection ends");
}
