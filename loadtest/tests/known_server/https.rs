//! The program over TLS: a front with a certificate before the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::mock::{Mock, Script};
use crate::program::run;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/known_server/tls").join(name)
}

/// A front that ends TLS before the server at `behind`. It lives as long as the process.
fn front(behind: SocketAddr) -> u16 {
    let certificate = CertificateDer::from_pem_file(file("one.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("one.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (outside, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let mut inside = TcpStream::connect(behind).await.unwrap();
                    // An end that leaves without a word ends the other, too.
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
    });
    port
}

#[test]
fn a_server_behind_tls_is_asked_when_its_certificate_is_trusted() {
    let mock = Mock::start(Script::default());
    let url = format!("https://localhost:{}", front(mock.address));
    let roots = file("one.crt");
    let flags = ["--url", &url, "--concurrency", "2", "--requests", "6", "--roots", roots.to_str().unwrap()];
    let ran = run(&flags);
    assert_eq!((ran.code, ran.figure("completed")), (0, 6.0), "{}", ran.errors);
    let ran = run(&flags[..6]);
    assert!(ran.code == 1 && ran.errors.contains("certificate"), "{}", ran.errors);
}
