//! The clients of a world: what they were told, and whether it is what they would get alone.

use super::alone::{Answer, answer_alone, encoded_alone};
use super::fake_model::{BROKEN, StepResult, digest_in, hold_digest};
use super::world::World;
use crate::request::{EncodeRequest, GenerationRequest, Priority, RequestId};
use crate::scheduler::{Event, NoToken, TokenScoreAt};

/// A client, and the events it has received.
#[derive(Debug)]
pub struct Client {
    pub asked: GenerationRequest,
    pub priority: Priority,
    pub started: Option<u32>,
    pub answers: Vec<Answer>,
    pub cancelled: Vec<bool>,
    /// Why it failed; taken out by tests that made it fail.
    pub failure: Option<NoToken>,
    /// Whether a fault of the device ended it, which it was told.
    pub is_struck: bool,
}

/// A client of an encoder request.
#[derive(Debug)]
pub struct Reader {
    pub asked: EncodeRequest,
    pub started: bool,
    /// A digest of the result.
    pub result: Option<u64>,
    pub cancelled: bool,
}

impl World {
    /// Asserts that the world is idle and that every client that did not cancel got what it would get alone.
    pub fn check_answers(&self) {
        assert!(self.scheduler.is_idle());
        assert_eq!(self.scheduler.counts().held, 0);
        for (id, reader) in self.readers.iter().filter(|(_, reader)| !reader.cancelled) {
            assert!(reader.started && reader.result == Some(encoded_alone(&reader.asked)), "{id:?}: {reader:?}");
        }
        for (id, client) in &self.clients {
            if client.failure == Some(NoToken::NotFinite) && !client.is_struck {
                assert!(client.asked.source.contains(&BROKEN), "{id:?} has logits that are numbers");
            }
            assert_ne!(client.failure, Some(NoToken::OutOfSteps), "{id:?} has few targets");
            let alone = |choice: usize| answer_alone(&client.asked, u32::try_from(choice).unwrap());
            if client.failure == Some(NoToken::NothingLeft) && !client.asked.source.contains(&BROKEN) {
                let fails = (0..client.answers.len()).any(|choice| alone(choice).finish.is_none());
                assert!(fails, "{id:?} finds tokens alone");
            }
            for (choice, answer) in client.answers.iter().enumerate() {
                if client.is_struck {
                    let Answer { tokens, finish, .. } = alone(choice);
                    let is_begun = finish.is_none() || tokens.starts_with(&answer.tokens);
                    assert!(is_begun, "{id:?} choice {choice} has tokens that it does not get alone");
                } else if !client.cancelled[choice] {
                    assert!(client.started.is_some());
                    let alone = alone(choice);
                    assert_eq!(*answer, alone, "{id:?} choice {choice}");
                }
            }
        }
    }

    /// Whether a request is answered without the model.
    pub fn is_trivial(&self, id: RequestId) -> bool {
        let asked = &self.clients[&id].asked;
        let scored = asked.prompt_scores.map_or(0, |scores| asked.decoder_prompt.len().saturating_sub(scores.from));
        asked.max_tokens == 0 && scored == 0
    }

    pub fn answer(&self, id: RequestId) -> &Answer {
        &self.clients[&id].answers[0]
    }

    pub fn answers(&self, id: RequestId) -> &[Answer] {
        &self.clients[&id].answers
    }

    fn deliver_to_reader(&mut self, event: &Event, step: &StepResult) {
        let reader = self.readers.get_mut(&event.request()).unwrap();
        assert!(!reader.cancelled && reader.result.is_none(), "an event follows the last: {event:?}");
        match *event {
            Event::Started { .. } => assert!(!std::mem::replace(&mut reader.started, true), "a request starts once"),
            Event::Encoded { result, .. } if reader.started => reader.result = Some(step.encoded[result as usize]),
            _ => panic!("not an event of an encoder request that has started: {event:?}"),
        }
    }

    pub(super) fn deliver(&mut self, event: &Event, result: &StepResult) {
        if self.readers.contains_key(&event.request()) {
            return self.deliver_to_reader(event, result);
        }
        let client = self.clients.get_mut(&event.request()).unwrap();
        if let Some(choice) = event.choice() {
            assert!(!client.cancelled[choice as usize], "an event follows its cancellation: {event:?}");
            assert!(client.answers[choice as usize].finish.is_none(), "an event follows the last: {event:?}");
            assert!(client.started.is_some(), "an event comes before the start: {event:?}");
        }
        match *event {
            Event::Started { request, cached_tokens } => {
                assert_eq!(client.started.replace(cached_tokens), None, "a request starts once");
                self.started.push(request);
            }
            Event::Scored { choice, token, score, .. } => {
                assert_eq!(Some(score.top), client.asked.prompt_scores.map(|scores| scores.top));
                client.answers[choice as usize].scores.push((token, result.digests[score.logits_row as usize]));
            }
            Event::Token { choice, token, ref score, .. } => {
                let answer = &mut client.answers[choice as usize];
                assert_eq!(score.is_some(), client.asked.log_probs.is_some());
                answer.scores.extend(score.iter().map(|score| match score {
                    TokenScoreAt::Logits(at) => (token, result.digests[at.logits_row as usize]),
                    TokenScoreAt::Held(held) => (token, digest_in(held)),
                }));
                answer.tokens.push(token);
            }
            Event::Drafted { drafted, accepted, .. } => {
                assert!(client.asked.may_draft() && 0 < drafted && accepted <= drafted);
            }
            Event::Kept { token, score, ref held, .. } => {
                assert_eq!(Some(score.top), client.asked.log_probs);
                hold_digest(held, token, result.digests[score.logits_row as usize]);
            }
            Event::Rated { choice, rating, .. } => {
                let before = client.answers[choice as usize].rating.replace(rating);
                assert!(before.is_none(), "a choice is rated once");
            }
            Event::Finished { choice, reason, .. } => client.answers[choice as usize].finish = Some(reason),
            Event::Encoded { .. } => panic!("a generation has no encoder result"),
            // From here on the client receives nothing, as if it had cancelled.
            Event::Failed { ref cause, .. } => {
                client.failure = Some(cause.clone());
                client.cancelled.fill(true);
            }
        }
    }
}
