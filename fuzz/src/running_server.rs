//! The server inside this process, started by its command line, with limits that make every request short.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use server::cli::Cli;
use server::config::Environment;
use server::process::service_manager::Notifier;

const SETTINGS: &str = "[server]\nlog_level = \"off\"\n[model]\ndtype = \"f32\"\nthreads = 1\n[limits]\n\
    page_pool_bytes = 8_388_608\ngrammar_bytes = 2048\nallowed_targets = 256\n\
    source_tokens = 64\ntarget_tokens = 8\nchoices = 2\nprompts = 4\ntotal_choices = 8\n\
    queued_rows = 8\nrunning_rows = 8\nrequest_rows = 6\nheader_timeout_s = 2\nkeep_alive_timeout_s = 2\n\
    body_timeout_s = 2\nwrite_timeout_s = 2\n";
/// Longest time for the start, and for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time in which an answer begins, if there is one; the client closes its side then.
const ANSWER: Duration = Duration::from_millis(10);

/// The address of this process's server, which is started when it is first asked for.
pub fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(start)
}

fn start() -> SocketAddr {
    // Nobody else takes the port in the moment between.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there is a port");
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, SETTINGS).expect("a temporary file can be written");
        let (file, port) = (file.display().to_string(), free.port().to_string());
        let arguments = ["server", "serve", "--config", &file, "--port", &port];
        let cli = <Cli as clap::Parser>::parse_from(arguments);
        let (_, configs) = cli.resolve(&Environment::read(|_| None)).expect("the settings are within their ranges");
        server::commands::serve(&configs, &Notifier::default(), None).expect("the demo is served");
    });
    let start = Instant::now();
    while !is_ready(free) {
        assert!(start.elapsed() < PATIENCE, "the server does not get ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    free
}

fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let asked = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    asked.and_then(|()| stream.read_to_end(&mut answer)).is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// Writes a request that asks for its connection to be closed, and reads to the end.
///
/// # Panics
/// When the server does not close the connection.
pub fn ask(request: &[u8]) -> Vec<u8> {
    let mut stream = connect();
    // A request that is refused may not be read to its end.
    let _ = stream.write_all(request);
    read_to_end(&mut stream, Vec::new())
}

/// Writes anything, waits a moment for an answer, closes this side, and reads to the end.
///
/// # Panics
/// When the server does not close the connection.
pub fn write_and_leave(bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect();
    let _ = stream.write_all(bytes);
    let mut beginning = vec![0; 1 << 16];
    stream.set_read_timeout(Some(ANSWER)).expect("a socket has timeouts");
    let read = stream.read(&mut beginning).unwrap_or(0);
    beginning.truncate(read);
    let _ = stream.shutdown(Shutdown::Write);
    read_to_end(&mut stream, beginning)
}

fn connect() -> TcpStream {
    TcpStream::connect(address()).expect("the server listens")
}

fn read_to_end(stream: &mut TcpStream, mut answer: Vec<u8>) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    if let Err(error) = stream.read_to_end(&mut answer) {
        let is_closed = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(is_closed, "the connection stays open: {error}");
    }
    answer
}
