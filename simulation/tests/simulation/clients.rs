//! Clients, and the answers that they are owed.

use std::collections::HashMap;

use simulation::request::{CallId, FinishReason, GenerationRequest, Priority, RequestId};
use simulation::scheduler::{Event, NoToken};

use super::device::{BROKEN, END, START, draw, source_digest, with_token};
use super::forms::{Form, Standing, choose};

/// A choice as far as it was told.
#[derive(Debug)]
struct Line {
    digest: u64,
    /// Where it stands in the form of the answers.
    standing: Option<Standing>,
    tokens: u32,
    is_over: bool,
    ended: bool,
}

/// A client that waits for answers.
#[derive(Debug)]
pub struct Client {
    pub call: CallId,
    pub priority: Priority,
    pub started: bool,
    /// Absent for an encoder request.
    asked: Option<GenerationRequest>,
    is_broken: bool,
    form: Option<Form>,
    lines: Vec<Line>,
    rated: u32,
}

/// How requests ended.
#[derive(Debug, Default)]
pub struct Ends {
    pub answered: u64,
    pub failed_alone: u64,
    /// Number of those among `failed_alone` whose form could not be followed.
    pub out_of_form: u64,
    pub tokens: u64,
}

/// All clients that wait.
#[derive(Debug, Default)]
pub struct Clients {
    open: HashMap<RequestId, Client>,
    pub ends: Ends,
}

impl Client {
    pub fn generation(call: CallId, priority: Priority, asked: GenerationRequest, form: Option<Form>) -> Self {
        let source = source_digest(&asked.source);
        let beginning = std::iter::once(&START).chain(&asked.decoder_prompt);
        let digest = beginning.fold(source, |digest, &token| with_token(digest, token));
        let standing = form.map(Form::start);
        let line = || Line { digest, standing, tokens: 0, is_over: false, ended: false };
        let lines = (0..asked.choices).map(|_| line()).collect();
        let is_broken = asked.source[0] == BROKEN;
        Self { call, priority, started: false, asked: Some(asked), is_broken, form, lines, rated: 0 }
    }

    pub fn encoding(call: CallId, priority: Priority) -> Self {
        let (lines, rated) = (Vec::new(), 0);
        Self { call, priority, started: false, asked: None, is_broken: false, form: None, lines, rated }
    }

    /// Whether it waits for rows of the decoder, rather than for the encoder alone.
    pub const fn takes_rows(&self) -> bool {
        self.asked.is_some()
    }

    /// Number of choices that go on.
    fn lines_left(&self) -> usize {
        self.lines.iter().filter(|line| !line.is_over).count()
    }

    /// Takes a token, which has to be the one that the client gets of a server of its own.
    fn token(&mut self, choice: u32, token: u32) {
        let asked = self.asked.as_ref().expect("an encoder request has no tokens");
        let line = &mut self.lines[choice as usize];
        assert!(self.started && !line.is_over && !line.ended, "a token comes between start and end");
        if asked.beams.is_none() {
            let position = 1 + asked.decoder_prompt.len() as u32 + line.tokens;
            let wanted = draw(line.digest, asked.sampling.seed, choice, position);
            let own = choose(line.standing.map_or(u64::MAX, Standing::allowed), wanted);
            assert_eq!(Some(token), own, "the token of somebody else");
            line.ended = token == END && !asked.ignore_end;
        }
        if let Some(standing) = &mut line.standing {
            assert!(standing.allowed() >> token & 1 == 1, "{token} is out of form");
            *standing = standing.after(token);
        }
        line.digest = with_token(line.digest, token);
        line.tokens += 1;
    }

    fn finish(&mut self, choice: u32, reason: FinishReason) {
        let asked = self.asked.as_ref().expect("an encoder request has no choices");
        let line = &mut self.lines[choice as usize];
        assert!(!std::mem::replace(&mut line.is_over, true), "a choice ends once");
        assert!(line.tokens <= asked.max_tokens);
        if asked.beams.is_none() {
            let full = line.tokens == asked.max_tokens;
            assert_eq!(reason, if line.ended { FinishReason::Stop } else { FinishReason::Length });
            assert!(line.ended || full, "a choice ends by its end token or at its length");
        }
    }
}

impl Clients {
    pub fn insert(&mut self, id: RequestId, client: Client) {
        self.open.insert(id, client);
    }

    pub fn get(&self, id: RequestId) -> Option<&Client> {
        self.open.get(&id)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes leave of a client, or of one of its choices. Returns whether it was still there.
    pub fn leave(&mut self, id: RequestId, choice: Option<u32>) -> bool {
        let Some(client) = self.open.get_mut(&id) else { return false };
        match choice {
            Some(choice) if client.lines_left() > 1 => {
                !std::mem::replace(&mut client.lines[choice as usize].is_over, true)
            }
            Some(_) => false,
            None => self.open.remove(&id).is_some(),
        }
    }

    /// A choice that the client may do without, if it has several that go on.
    pub fn spare_choice(&self, id: RequestId) -> Option<u32> {
        let client = self.open.get(&id).filter(|client| client.lines_left() > 1)?;
        client.lines.iter().position(|line| !line.is_over).map(|choice| choice as u32)
    }

    /// Tells a client what happened.
    pub fn tell(&mut self, event: &Event) {
        let id = event.request();
        let Some(client) = self.open.get_mut(&id) else {
            panic!("an event for somebody who is not there: {event:?}");
        };
        match *event {
            Event::Started { .. } => assert!(!std::mem::replace(&mut client.started, true), "a request starts once"),
            Event::Token { choice, token, .. } => {
                self.ends.tokens += 1;
                client.token(choice, token);
            }
            Event::Drafted { drafted, accepted, .. } => assert!(drafted > 0 && accepted <= drafted),
            Event::Rated { .. } => client.rated += 1,
            Event::Finished { choice, reason, .. } => client.finish(choice, reason),
            Event::Encoded { .. } => assert!(client.asked.is_none() && client.started),
            Event::Failed { ref cause, .. } => {
                match cause {
                    NoToken::NotFinite => assert!(client.is_broken, "its source has numbers"),
                    NoToken::Unfollowed(_) => {
                        assert!(client.form.is_some_and(Form::may_break), "its form can be followed");
                        self.ends.out_of_form += 1;
                    }
                    _ => panic!("{cause:?} with an id left"),
                }
                self.ends.failed_alone += 1;
                self.open.remove(&id);
                return;
            }
            Event::Scored { .. } | Event::Kept { .. } => panic!("nobody asks for scores"),
        }
        if client.lines_left() == 0 && (client.asked.is_some() || matches!(event, Event::Encoded { .. })) {
            assert!(!client.is_broken || client.asked.is_none(), "no token comes from logits that are no numbers");
            self.ends.answered += 1;
            self.open.remove(&id);
        }
    }
}
