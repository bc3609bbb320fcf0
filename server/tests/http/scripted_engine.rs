//! An engine that does what a test says: by hand, command for command, or by a script.

use std::sync::mpsc::{Receiver, TryRecvError};

use kernels::Candidate;
use server::engine::{Command, Submission, TokenScore};
use server::request::{FinishReason, GenerationEvent, GenerationRequest};

use crate::app::{END, wait_for};

/// The engine's side of the door, in the hands of a test.
pub struct Hand {
    pub commands: Receiver<Command>,
}

impl Hand {
    pub async fn command(&mut self) -> Command {
        wait_for(|| match self.commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the server has gone"),
        })
        .await
    }

    pub async fn submission(&mut self) -> Submission {
        match self.command().await {
            Command::Submit(submission) => submission,
            other => panic!("not a submission: {other:?}"),
        }
    }

    /// Waits until a request is cancelled, or one of its choices; other commands are passed over.
    pub async fn cancelled(&mut self) -> Option<u32> {
        loop {
            if let Command::Cancel { choice, .. } = self.command().await {
                return choice;
            }
        }
    }

    /// Whether nothing has come.
    pub fn is_idle(&self) -> bool {
        self.commands.try_recv().is_err()
    }
}

/// Answers each request with the events that `script` makes of it.
pub fn answer(commands: &Receiver<Command>, mut script: impl FnMut(&GenerationRequest) -> Vec<GenerationEvent>) {
    while let Ok(command) = commands.recv() {
        if let Command::Submit(Submission { request, events, slot, .. }) = command {
            drop(slot);
            for event in script(&request) {
                // The client may be gone.
                let _ = events.send(event);
            }
        }
    }
}

/// Events of an engine that generates `tokens` and then the end token for every choice, as far as `max_tokens` allows.
pub fn generate(request: &GenerationRequest, tokens: &[u32]) -> Vec<GenerationEvent> {
    let mut events = vec![GenerationEvent::Started { cached_tokens: 0 }];
    let whole: Vec<u32> = tokens.iter().copied().chain([END]).collect();
    let limit = request.max_tokens as usize;
    for choice in 0..request.choices {
        if request.score_prompt {
            let scores = request.decoder_prompt.iter().map(|&id| score(id, request.log_probs.unwrap()));
            events.extend(scores.map(|score| GenerationEvent::Scored { choice, score }));
        }
        events.extend(whole.iter().take(limit).map(|&id| GenerationEvent::Token {
            choice,
            id,
            score: request.log_probs.map(|count| score(id, count)),
        }));
        let reason = if whole.len() <= limit { FinishReason::Stop } else { FinishReason::Length };
        events.push(GenerationEvent::Finished { choice, reason });
    }
    events
}

/// A score where the next ids are the alternatives, each less probable by 1.
pub fn score(id: u32, alternatives: u32) -> TokenScore {
    let candidate = |rank: u32| Candidate { id: id + rank, log_prob: -0.5 - rank as f32, rank };
    TokenScore { chosen: candidate(0), top: (0..alternatives).map(candidate).collect() }
}

pub fn token(choice: u32, id: u32) -> GenerationEvent {
    GenerationEvent::Token { choice, id, score: None }
}
