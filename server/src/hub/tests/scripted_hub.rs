//! A hub on a free port of this machine: it has one repository, and answers the requests for a path as a test says
//! before it answers them as a hub does.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Barrier, Mutex};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{COMMIT, certificate};
use crate::hub::checksum::Checksum;

/// Files of more bytes have the tags that large files have.
const LARGE: usize = 64;

/// Something else than the file that is asked for.
#[derive(Debug, Clone)]
pub enum Trick {
    /// A status, with headers, each as a line.
    Answer(u16, String),
    /// The file up to a byte, and the end of the connection.
    BreakAfter(usize),
    /// The whole file, whatever part of it is asked for.
    FromTheStart,
    /// Bytes in the number that the file has, which are none of its.
    WrongBytes,
    /// The head of the answer, and then nothing.
    Silence,
    /// The file, or something else, once others are asked for as well.
    Meet(Arc<Barrier>, Option<Box<Trick>>),
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Value of `Authorization`, if there is one.
    pub authorization: Option<String>,
    /// Value of `Range`, if there is one.
    pub range: Option<String>,
}

/// A file, and the tag of its contents.
#[derive(Clone)]
struct File {
    contents: Vec<u8>,
    tag: String,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    tricks: BTreeMap<String, VecDeque<Trick>>,
    seen: Vec<Seen>,
    /// Address of another host that has the files; the hub itself if there is none.
    elsewhere: Option<String>,
}

/// The hub. It answers until the test's process ends.
pub struct ScriptedHub {
    url: String,
    state: Arc<Mutex<State>>,
}

impl ScriptedHub {
    /// A hub whose repository has these files.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        Self::start(files, None)
    }

    fn start(files: &[(&str, &[u8])], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = match &tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let file = |contents: &[u8]| File { contents: contents.to_vec(), tag: tag(contents) };
        let files = files.iter().map(|(name, contents)| ((*name).to_owned(), file(contents))).collect();
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, tls, stream) = (Arc::clone(&shared), tls.clone(), stream.unwrap());
                // A client that is gone is no failure of the hub.
                std::thread::spawn(move || match tls {
                    None => answer(stream, &state).ok(),
                    Some(tls) => answer(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &state).ok(),
                });
            }
        });
        Self { url, state }
    }

    /// A hub with a checkpoint of a small and a large file.
    pub fn tiny() -> Self {
        Self::with(&[("config.json", b"{}"), ("model.safetensors", &weights()), ("README.md", b"# Tiny")])
    }

    /// A hub with weights in two shards.
    pub fn sharded() -> Self {
        Self::with(&[
            ("config.json", b"{}"),
            ("model-00001-of-00002.safetensors", &weights()[..400_000]),
            ("model-00002-of-00002.safetensors", &weights()[400_000..]),
            ("model.safetensors.index.json", b"[]"),
        ])
    }

    /// A hub over TLS, for `localhost`, with a certificate that a private root has signed.
    pub fn over_tls() -> Self {
        let chain = CertificateDer::from_pem_file(certificate("signed.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificate("signed.key")).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key);
        Self::start(&[("config.json", b"{}"), ("model.safetensors", &weights())], Some(Arc::new(tls.unwrap())))
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Does this before anything else with the next request for `name`: a file, or `api` for the list.
    pub fn trick(&self, name: &str, trick: Trick) -> &Self {
        self.state.lock().unwrap().tricks.entry(name.to_owned()).or_default().push_back(trick);
        self
    }

    /// Answers requests for files with redirects to another host from now on.
    pub fn redirect(&self, to: &Self) {
        self.state.lock().unwrap().elsewhere = Some(to.url.clone());
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Values of `Range` of the requests for the contents of a file.
    pub fn ranges(&self, name: &str) -> Vec<Option<String>> {
        let end = format!("/{name}");
        let asked = self.seen().into_iter().filter(|seen| seen.line.starts_with("GET ") && seen.line.ends_with(&end));
        asked.map(|seen| seen.range).collect()
    }
}

/// Contents of a large file.
pub fn weights() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The tag that a hub gives to these contents.
pub fn tag(contents: &[u8]) -> String {
    let form = if contents.len() > LARGE { "0".repeat(64) } else { "0".repeat(40) };
    let mut checksum = Checksum::like(&form, contents.len() as u64);
    checksum.add(contents);
    checksum.finish().unwrap()
}

fn answer<S: Read + Write>(stream: S, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let Some(first) = lines.first() else { return Ok(()) };
    let (method, path) = first.trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
    let header = |name: &str| {
        let found =
            lines.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    let (range, authorization) = (header("range"), header("authorization"));
    let mut state = state.lock().unwrap();
    state.seen.push(Seen { line: format!("{method} {path}"), authorization, range: range.clone() });
    let name = if path.starts_with("/api/") { "api" } else { path.rsplit('/').next().unwrap() };
    let name = name.split('?').next().unwrap();
    // Tricks are for contents and for the list, not for questions about a file.
    let key = if method == "HEAD" { format!("HEAD {name}") } else { name.to_owned() };
    let trick = state.tricks.get_mut(&key).and_then(VecDeque::pop_front);
    let reply = Reply { stream: reader.into_inner(), is_head: method == "HEAD" };
    if let Some(Trick::Answer(status, headers)) = trick {
        return reply.send(status, &headers, b"");
    }
    if name == "api" {
        let siblings: Vec<_> = state.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let list = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        drop(state);
        return reply.file(list.as_bytes(), "", None, trick);
    }
    let Some(File { contents, tag }) = state.files.get(name).cloned() else {
        return reply.send(404, "x-error-code: EntryNotFound\r\n", b"");
    };
    let elsewhere = state.elsewhere.clone();
    drop(state);
    let size = contents.len();
    if let Some(elsewhere) = elsewhere {
        let headers = format!(
            "location: {elsewhere}/blob/{name}?signature=1\r\nx-linked-etag: \"{tag}\"\r\nx-linked-size: {size}\r\n\
             x-repo-commit: {COMMIT}\r\netag: \"of-the-redirect\"\r\n"
        );
        return reply.send(302, &headers, b"");
    }
    reply.file(&contents, &format!("etag: \"{tag}\"\r\n"), range.as_deref(), trick)
}

struct Reply<S> {
    stream: S,
    is_head: bool,
}

impl<S: Read + Write> Reply<S> {
    fn send(mut self, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
        let length = body.len();
        write!(self.stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n")?;
        if !self.is_head {
            self.stream.write_all(body)?;
        }
        self.stream.flush()
    }

    fn file(
        mut self,
        contents: &[u8],
        headers: &str,
        range: Option<&str>,
        mut trick: Option<Trick>,
    ) -> std::io::Result<()> {
        if let Some(Trick::Meet(others, then)) = trick {
            others.wait();
            trick = then.map(|then| *then);
        }
        let from = range.map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let from = from.filter(|_| !matches!(trick, Some(Trick::FromTheStart))).unwrap_or(0);
        if from >= contents.len() && from > 0 {
            return self.send(416, headers, b"");
        }
        let part = &contents[from..];
        let headers = match from {
            0 => headers.to_owned(),
            _ => format!("{headers}content-range: bytes {from}-{}/{}\r\n", contents.len() - 1, contents.len()),
        };
        let status = if from > 0 { 206 } else { 200 };
        match trick {
            Some(Trick::WrongBytes) => self.send(status, &headers, &vec![7; part.len()]),
            Some(Trick::BreakAfter(count)) => {
                write!(self.stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", part.len())?;
                self.stream.write_all(&part[..count])?;
                self.stream.flush()
            }
            Some(Trick::Silence) => {
                write!(self.stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", part.len())?;
                // Until the client gives up.
                self.stream.read(&mut [0; 1]).map(|_| ())
            }
            _ => self.send(status, &headers, part),
        }
    }
}
