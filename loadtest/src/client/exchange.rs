//! One request and its answer, with the times of what came.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Brought, shortened};
use super::connections::Client;
use super::events::Events;
use super::fault::{Fault, FaultClass};
use crate::error::with_causes;
use crate::workload::{Behaviour, Request};

/// Largest answer that is not streamed, in bytes.
const MOST_BYTES: usize = 256 << 20;

/// A request as it was seen, with the times of its answer.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When it was sent, or a connection for it was asked for.
    pub sent: Instant,
    /// Pieces of a stream, in the order in which they came.
    pub pieces: Vec<Piece>,
    /// When the answer ended, in whatever way.
    pub end: Instant,
    /// Tokens of the source, as the server counts them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the target, as the server counts them.
    pub completion_tokens: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A piece of a stream: text of a choice, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// When it came.
    pub time: Instant,
    /// The choice, and whether there is text.
    pub brought: Brought,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was whole.
    Whole,
    /// The client left on purpose before the answer was whole.
    Left,
    /// The answer was not whole.
    Failed(Fault),
}

/// Sends a request and reads its answer as the request's client behaves, for at most `longest`.
pub async fn observe(client: &Client, request: &Request, longest: Duration) -> Observed {
    let now = Instant::now();
    let mut observed = Observed {
        sent: now,
        pieces: Vec::new(),
        end: now,
        prompt_tokens: None,
        completion_tokens: None,
        outcome: Outcome::Left,
    };
    let stay = match request.behaviour {
        Behaviour::Cancels(seconds) | Behaviour::Vanishes(seconds) => Some(Duration::from_secs_f64(seconds)),
        Behaviour::Reads | Behaviour::ReadsSlowly(_) => None,
    };
    let leaves = stay.is_some_and(|stay| stay <= longest);
    let read = exchange(client, request, &mut observed);
    let outcome = match timeout(stay.unwrap_or(longest).min(longest), read).await {
        Ok(Ok(())) => Outcome::Whole,
        Ok(Err(fault)) => Outcome::Failed(fault),
        Err(_) if leaves => Outcome::Left,
        Err(_) => Outcome::Failed(Fault::new(FaultClass::Timeout, format!("not whole after {longest:?}"))),
    };
    observed.outcome = outcome;
    if observed.end == observed.sent || observed.outcome != Outcome::Whole {
        observed.end = Instant::now();
    }
    observed
}

async fn exchange(client: &Client, request: &Request, observed: &mut Observed) -> Result<(), Fault> {
    let (connection, response) = client.ask(request.asked.endpoint.path(), Some(request.body.clone())).await?;
    if let Behaviour::Vanishes(_) = request.behaviour {
        // Until the time is over, nothing is read and nothing is closed.
        std::future::pending::<()>().await;
    }
    let status = response.status();
    let mut body = response.into_body();
    if status != StatusCode::OK {
        let text = read_whole(&mut body).await?;
        client.keep(connection);
        return Err(Fault::new(FaultClass::Status(status.as_u16()), shortened(&text)));
    }
    let mut answer = Answer::new(request.asked);
    if request.is_streamed {
        let pause = match request.behaviour {
            Behaviour::ReadsSlowly(seconds) => Some(Duration::from_secs_f64(seconds)),
            _ => None,
        };
        read_stream(&mut body, &mut answer, pause, observed).await?;
    } else {
        let text = read_whole(&mut body).await?;
        observed.end = Instant::now();
        answer.take_body(&text)?;
    }
    client.keep(connection);
    observed.prompt_tokens = answer.prompt_tokens;
    observed.completion_tokens = answer.completion_tokens;
    answer.finish()
}

async fn read_stream(
    body: &mut Incoming,
    answer: &mut Answer,
    pause: Option<Duration>,
    observed: &mut Observed,
) -> Result<(), Fault> {
    let mut events = Events::default();
    while let Some(piece) = next_piece(body).await? {
        let now = Instant::now();
        observed.end = now;
        let taken = events.push(&piece, |data| {
            let brought = answer.take_event(data)?;
            observed.pieces.extend(brought.into_iter().map(|brought| Piece { time: now, brought }));
            Ok(())
        });
        taken.map_err(|fault: Option<Fault>| {
            fault.unwrap_or_else(|| Fault::new(FaultClass::Unparseable, "an event is larger than 64 MiB"))
        })?;
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
    if events.has_rest() { Err(Fault::new(FaultClass::Cut, "the stream ended within an event")) } else { Ok(()) }
}

async fn read_whole(body: &mut Incoming) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    while let Some(piece) = next_piece(body).await? {
        text.extend_from_slice(&piece);
        if text.len() > MOST_BYTES {
            return Err(Fault::new(FaultClass::Unparseable, "the answer is larger than 256 MiB"));
        }
    }
    Ok(text)
}

async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    loop {
        let Some(frame) = body.frame().await else { return Ok(None) };
        let frame = frame.map_err(|error| Fault::new(FaultClass::Cut, with_causes(&error)))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
}
