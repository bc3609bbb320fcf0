//! The way to the hub: TLS with roots of one's own, and proxies.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::scripted_hub::{ScriptedHub, weights};
use super::{certificate, config, id, refusal};
use crate::hub::{HubError, fetch};

#[test]
fn a_hub_whose_root_is_named_is_trusted_and_no_other_is() {
    let (hub, folder) = (ScriptedHub::over_tls(), tempfile::tempdir().unwrap());
    let error = refusal(&hub, folder.path());
    assert!(matches!(&error, HubError::Untrusted { host, .. } if host == "localhost"), "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE") && hub.seen().is_empty(), "{error}");
    let mut config = config(&hub, folder.path());
    config.certificates = Some(certificate("one.crt"));
    assert!(matches!(fetch(&config, &id("org/tiny")), Err(HubError::Untrusted { .. })), "another root");
    config.certificates = Some(certificate("root.crt"));
    let snapshot = fetch(&config, &id("org/tiny")).unwrap();
    assert_eq!(std::fs::read(snapshot.join("model.safetensors")).unwrap(), weights());
    assert!(hub.seen().iter().all(|seen| seen.authorization.as_deref() == Some("Bearer secret")));
}

#[test]
fn a_file_without_certificates_is_named() {
    let (hub, folder) = (ScriptedHub::tiny(), tempfile::tempdir().unwrap());
    let mut config = config(&hub, folder.path());
    for name in ["one.key", "none.crt", ""] {
        config.certificates = Some(certificate(name));
        let said = fetch(&config, &id("org/tiny")).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("REQUESTS_CA_BUNDLE"), "{said}");
    }
    assert!(hub.seen().is_empty());
}

/// A proxy on a free port of this machine, and the first line of each request to it.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://me:secret@{}", listener.local_addr().unwrap());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = Arc::clone(&seen);
            // A client that is gone is no failure of the proxy.
            std::thread::spawn(move || tunnel(stream.unwrap(), &seen).ok());
        }
    });
    (address, lines)
}

fn tunnel(client: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head)?;
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(first);
    let hub = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_hub, mut to_client) = (hub.try_clone()?, client);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_hub, &mut to_client);
        to_client.shutdown(std::net::Shutdown::Write)
    });
    std::io::copy(&mut reader, &mut &hub)?;
    hub.shutdown(std::net::Shutdown::Write)
}

#[test]
fn the_hub_is_asked_through_the_proxy_of_its_scheme_unless_it_is_exempt() {
    let (hub, folder) = (ScriptedHub::over_tls(), tempfile::tempdir().unwrap());
    let (address, seen) = proxy();
    let mut config = config(&hub, folder.path());
    config.certificates = Some(certificate("root.crt"));
    config.proxies.https = Some(address);
    fetch(&config, &id("org/tiny")).unwrap();
    let port = hub.url().rsplit_once(':').unwrap().1;
    let lines = std::mem::take(&mut *seen.lock().unwrap());
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| *line == format!("CONNECT localhost:{port} HTTP/1.1")), "{lines:?}");
    config.proxies.exempt = "localhost".to_owned();
    fetch(&config, &id("org/tiny")).unwrap();
    (config.proxies.http, config.proxies.https) = (config.proxies.https, None);
    config.proxies.exempt.clear();
    fetch(&config, &id("org/tiny")).unwrap();
    assert!(seen.lock().unwrap().is_empty(), "{seen:?}");
}
