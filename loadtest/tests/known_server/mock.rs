//! A server whose delays and faults are known: a thread for each connection, with the times at which it really wrote.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How the server answers.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Time from a request to its first piece of text.
    pub first: Duration,
    /// Time between pieces.
    pub gap: Duration,
    /// Pieces of text, each of one token.
    pub pieces: u32,
    /// The fault of its answers.
    pub lack: Lack,
    /// How often it says that it is loading before it lists its models.
    pub loading: usize,
}

/// Something that is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    Done,
    FinishReason,
    Json,
    Status,
    Rest,
    /// The last choice, or vector.
    Choice,
    /// Any model.
    Model,
}

impl Default for Script {
    fn default() -> Self {
        Self { first: Duration::ZERO, gap: Duration::ZERO, pieces: 4, lack: Lack::Nothing, loading: 0 }
    }
}

/// Everything that the server saw and did.
#[derive(Debug, Default)]
pub struct Seen {
    /// Paths and bodies of the requests that were posted.
    pub posts: Vec<(String, Value)>,
    /// Headers of the last request.
    pub headers: BTreeMap<String, String>,
    /// Times from a request to its first piece, as they were.
    pub firsts: Vec<Duration>,
    /// Times between pieces, as they were.
    pub gaps: Vec<Duration>,
    /// Answers whose client left before their end.
    pub left: usize,
    /// Questions for the list of models.
    pub models: usize,
    /// Connections.
    pub connections: usize,
}

/// A running server. It lives as long as the process.
pub struct Mock {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
}

impl Mock {
    pub fn start(script: Script) -> Self {
        Self::listen("127.0.0.1:0", script)
    }

    pub fn listen(address: &str, script: Script) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let seen = Arc::clone(&shared);
                lock(&seen).connections += 1;
                thread::spawn(move || serve(stream, script, &seen));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of a connection until its client has left.
fn serve(stream: TcpStream, script: Script, seen: &Mutex<Seen>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some((path, body)) = read_request(&mut reader, seen) {
        let asked = Instant::now();
        let answered = match (path.as_str(), body) {
            ("/v1/models", _) => {
                lock(seen).models += 1;
                write_models(&mut stream, script, lock(seen).models)
            }
            ("/metrics", _) => {
                let text =
                    "encdec_waiting_rows{model=\"mock\"} 3\nencdec_running_rows 2\nencdec_page_usage_ratio 0.5\n";
                write_text(&mut stream, "200 OK", text)
            }
            (path, Some(body)) => {
                lock(seen).posts.push((path.to_owned(), body.clone()));
                answer(&mut stream, &body, Timing { script, asked, seen })
            }
            _ => write_json(&mut stream, "404 Not Found", &json!({"error": {"message": "no such path"}})),
        };
        if answered.is_err() {
            lock(seen).left += 1;
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>, seen: &Mutex<Seen>) -> Option<(String, Option<Value>)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    lock(seen).headers = headers;
    Some((path, (length > 0).then(|| serde_json::from_slice(&body).unwrap())))
}

struct Timing<'a> {
    script: Script,
    asked: Instant,
    seen: &'a Mutex<Seen>,
}

fn answer(stream: &mut TcpStream, body: &Value, timing: Timing<'_>) -> std::io::Result<()> {
    let Timing { script, asked, seen } = timing;
    if script.lack == Lack::Status {
        return write_json(stream, "429 Too Many Requests", &json!({"error": {"message": "full"}}));
    }
    let choices = body["n"].as_u64().unwrap_or(1);
    let came = choices - u64::from(script.lack == Lack::Choice);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": u64::from(script.pieces) * choices});
    if body.get("input").is_some() {
        thread::sleep(script.first);
        let vectors: Vec<Value> = (0..came).map(|index| json!({"index": index, "embedding": [0.5]})).collect();
        return write_json(stream, "200 OK", &json!({"data": vectors, "usage": usage}));
    }
    let is_chat = body.get("messages").is_some();
    if body["stream"] != json!(true) {
        thread::sleep(script.first + script.gap * (script.pieces - 1));
        let choices: Vec<Value> = (0..came).map(|index| choice(index, is_chat, "{}", true)).collect();
        return write_json(stream, "200 OK", &json!({"choices": choices, "usage": usage}));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let mut last = asked;
    for piece in 0..script.pieces {
        sleep_until(asked + script.first + script.gap * piece);
        let ends = piece + 1 == script.pieces && script.lack != Lack::FinishReason;
        let object = if is_chat { "chat.completion.chunk" } else { "text_completion" };
        for index in 0..came {
            let mut event = json!({"object": object, "choices": [choice(index, is_chat, "a", ends)]}).to_string();
            if script.lack == Lack::Json {
                event.truncate(9);
            }
            write_chunk(stream, &format!("data: {event}\n\n"))?;
        }
        let now = Instant::now();
        let mut seen = lock(seen);
        let times = if piece == 0 { &mut seen.firsts } else { &mut seen.gaps };
        times.push(now - last);
        last = now;
    }
    if script.lack == Lack::Rest {
        // Without its last chunk the body is cut.
        return Err(std::io::ErrorKind::BrokenPipe.into());
    }
    write_chunk(stream, &format!("data: {}\n\n", json!({"choices": [], "usage": usage})))?;
    if script.lack != Lack::Done {
        write_chunk(stream, "data: [DONE]\n\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn write_models(stream: &mut TcpStream, script: Script, asked: usize) -> std::io::Result<()> {
    if asked <= script.loading {
        return write_json(stream, "503 Service Unavailable", &json!({"error": {"message": "loading"}}));
    }
    match script.lack {
        Lack::Model => write_json(stream, "200 OK", &json!({"data": []})),
        Lack::Status => write_json(stream, "401 Unauthorized", &json!({"error": {"message": "no key"}})),
        _ => write_json(stream, "200 OK", &json!({"data": [{"id": "mock"}]})),
    }
}

fn choice(index: u64, is_chat: bool, text: &str, ends: bool) -> Value {
    let reason = if ends { json!("stop") } else { Value::Null };
    let content = json!({"content": text});
    if is_chat {
        json!({"index": index, "delta": content, "message": content, "finish_reason": reason})
    } else {
        json!({"index": index, "text": text, "finish_reason": reason})
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

fn write_chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}

fn write_json(stream: &mut TcpStream, status: &str, value: &Value) -> std::io::Result<()> {
    write_text(stream, status, &value.to_string())
}

fn write_text(stream: &mut TcpStream, status: &str, text: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes())
}
