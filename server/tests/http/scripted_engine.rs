//! An engine that does what a test says: by hand, command for command, or by a script.

use std::sync::mpsc::{Receiver, TryRecvError};

use kernels::Candidate;
use server::engine::{Command, EncodeSubmission, Submission, TokenScore};
use server::request::{
    EncodeRequest, EncodingEvent, FinishReason, GenerationEvent, GenerationRequest, PromptScores, Readout,
};

use crate::app::{END, WIDTH, wait_for};

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

    /// Waits for a request; cancellations of earlier ones, which may be sent late, are passed over.
    pub async fn submission_after_cancellations(&mut self) -> Submission {
        loop {
            match self.command().await {
                Command::Submit(submission) => return submission,
                Command::Cancel { .. } => {}
                other => panic!("not a submission: {other:?}"),
            }
        }
    }

    pub async fn encode_submission(&mut self) -> EncodeSubmission {
        match self.command().await {
            Command::Encode(submission) => submission,
            other => panic!("not an encoder request: {other:?}"),
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
        match command {
            Command::Submit(Submission { request, events, slot, .. }) => {
                drop(slot);
                for event in script(&request) {
                    // The client may be gone.
                    let _ = events.send(event);
                }
            }
            Command::Encode(EncodeSubmission { request, events, slot, .. }) => {
                drop(slot);
                let _ = events.send(EncodingEvent::Started);
                let _ = events.send(EncodingEvent::Encoded { numbers: encode(&request) });
            }
            Command::Cancel { .. } | Command::Drain => {}
        }
    }
}

/// The state of a token: its id, and three numbers that are the same for every token.
pub fn state(id: u32) -> [f32; WIDTH] {
    [id as f32, 3.0, 4.0, -0.5]
}

/// The result of an encoder request. Scores of classes are the first ids.
pub fn encode(request: &EncodeRequest) -> Vec<f32> {
    let states: Vec<_> = request.source.iter().map(|&id| state(id)).collect();
    match request.readout {
        Readout::LastToken => states[states.len() - 1].to_vec(),
        Readout::Mean => {
            let sum = |column: usize| states.iter().map(|state| state[column]).sum::<f32>();
            (0..WIDTH).map(|column| sum(column) / states.len() as f32).collect()
        }
        Readout::EveryToken => states.concat(),
        Readout::Classes => request.source.iter().take(3).map(|&id| id as f32).collect(),
    }
}

/// Events of an engine that generates `tokens` and then the end token for every choice, as far as `max_tokens` allows.
pub fn generate(request: &GenerationRequest, tokens: &[u32]) -> Vec<GenerationEvent> {
    let mut events = vec![GenerationEvent::Started { cached_tokens: 0 }];
    let whole: Vec<u32> = tokens.iter().copied().chain([END]).collect();
    let limit = request.max_tokens as usize;
    for choice in 0..request.choices {
        if let Some(PromptScores { top, from }) = request.prompt_scores {
            let scores = request.decoder_prompt[from..].iter().map(|&id| score(id, top));
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
