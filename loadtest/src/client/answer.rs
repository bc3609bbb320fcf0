//! Whether an answer is whole: every piece parses, every choice has its end, and a stream says that it is over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fault::{Fault, FaultClass};
use crate::scenario::Endpoint;

/// Characters of a detail that are kept.
const MOST_DETAIL: usize = 300;

/// An answer, as far as it has come.
#[derive(Debug)]
pub struct Answer {
    asked: Asked,
    choices: BTreeMap<u32, ChoiceSoFar>,
    vectors: usize,
    is_done: bool,
    /// Tokens of the source, as the server counts them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the target, as the server counts them.
    pub completion_tokens: Option<u32>,
}

/// Requirements of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Number of choices, or of vectors.
    pub choices: usize,
    /// Whether a text that has ended has to be JSON.
    pub has_schema: bool,
}

/// A choice of which an event brought text or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brought {
    /// Index of the choice.
    pub choice: u32,
    /// Whether there is text.
    pub has_text: bool,
}

#[derive(Debug, Default)]
struct ChoiceSoFar {
    finish_reason: Option<String>,
    /// The text, kept only under a schema.
    text: String,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    data: Option<Vec<Vector>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    // Some servers leave it out where there is one choice.
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Message<'a>>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "embedding")]
    _embedding: IgnoredAny,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
}

impl Answer {
    /// An answer of which nothing has come.
    pub fn new(asked: Asked) -> Self {
        let choices = BTreeMap::new();
        Self { asked, choices, vectors: 0, is_done: false, prompt_tokens: None, completion_tokens: None }
    }

    /// Takes the data of an event of a stream, and gives what it brought of which choices.
    ///
    /// # Errors
    /// An event that does not parse, reports an error, or follows the end.
    pub fn take_event(&mut self, data: &[u8]) -> Result<Vec<Brought>, Fault> {
        if self.is_done {
            return Err(unparseable("an event after [DONE]", data));
        }
        if data == b"[DONE]" {
            self.is_done = true;
            return Ok(Vec::new());
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| unparseable(&error.to_string(), data))?;
        self.take(chunk, data)
    }

    /// Takes a whole body.
    ///
    /// # Errors
    /// A body that is not what the endpoint answers with.
    pub fn take_body(&mut self, body: &[u8]) -> Result<(), Fault> {
        let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|error| unparseable(&error.to_string(), body))?;
        self.vectors = chunk.data.as_ref().map_or(0, Vec::len);
        if self.asked.endpoint == Endpoint::Embeddings && self.vectors == 0 {
            return Err(unparseable("no data", body));
        }
        self.take(chunk, body)?;
        self.is_done = true;
        Ok(())
    }

    /// Judges the answer after its last byte.
    ///
    /// # Errors
    /// Why it is not whole.
    pub fn finish(&self) -> Result<(), Fault> {
        if !self.is_done {
            return Err(Fault::new(FaultClass::Cut, "the stream ended without [DONE]"));
        }
        let is_embedding = self.asked.endpoint == Endpoint::Embeddings;
        let (came, asked) = (if is_embedding { self.vectors } else { self.choices.len() }, self.asked.choices);
        if came != asked {
            let what = if is_embedding { "vectors" } else { "choices" };
            return Err(Fault::new(FaultClass::Choices, format!("{came} {what} came, and {asked} were asked for")));
        }
        for (index, choice) in &self.choices {
            let Some(reason) = &choice.finish_reason else {
                return Err(Fault::new(FaultClass::Unfinished, format!("choice {index} has no finish_reason")));
            };
            // A text that was cut at its greatest length cannot be whole.
            let has_form = reason != "stop" || serde_json::from_str::<IgnoredAny>(&choice.text).is_ok();
            if self.asked.has_schema && !has_form {
                let detail = format!("choice {index} is not JSON: {}", shortened(choice.text.as_bytes()));
                return Err(Fault::new(FaultClass::Schema, detail));
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk<'_>, data: &[u8]) -> Result<Vec<Brought>, Fault> {
        if let Some(error) = chunk.error {
            return Err(Fault::new(FaultClass::ErrorEvent, shortened(error.to_string().as_bytes())));
        }
        let has_usage = chunk.usage.is_some();
        if let Some(usage) = chunk.usage {
            self.prompt_tokens = usage.prompt_tokens.or(self.prompt_tokens);
            self.completion_tokens = usage.completion_tokens.or(self.completion_tokens);
        }
        let Some(choices) = chunk.choices else {
            // A chunk of usage alone has none, and some servers leave out the empty list.
            let is_due = self.asked.endpoint != Endpoint::Embeddings && !has_usage;
            return if is_due { Err(unparseable("no choices", data)) } else { Ok(Vec::new()) };
        };
        let mut brought = Vec::new();
        for choice in choices {
            let so_far = self.choices.entry(choice.index).or_default();
            let content = choice.delta.or(choice.message).and_then(|message| message.content);
            let text = choice.text.or(content).unwrap_or_default();
            let has_text = !text.is_empty();
            if has_text || choice.finish_reason.is_some() {
                brought.push(Brought { choice: choice.index, has_text });
            }
            if self.asked.has_schema {
                so_far.text.push_str(&text);
            }
            if let Some(reason) = choice.finish_reason {
                so_far.finish_reason = Some(reason.into_owned());
            }
        }
        Ok(brought)
    }
}

fn unparseable(fault: &str, data: &[u8]) -> Fault {
    Fault::new(FaultClass::Unparseable, format!("{fault}: {}", shortened(data)))
}

/// The beginning of a text, for people.
pub fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shortened: String = text.chars().take(MOST_DETAIL).collect();
    if shortened.len() < text.len() {
        shortened.push_str("...");
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(events: &[&str], has_schema: bool) -> Result<usize, FaultClass> {
        judged_as(Asked { endpoint: Endpoint::Completions, choices: 1, has_schema }, events)
    }

    fn judged_as(asked: Asked, events: &[&str]) -> Result<usize, FaultClass> {
        let mut answer = Answer::new(asked);
        let mut texts = 0;
        for event in events {
            let brought = answer.take_event(event.as_bytes()).map_err(|fault| fault.class)?;
            texts += brought.iter().filter(|brought| brought.has_text).count();
        }
        answer.finish().map_err(|fault| fault.class)?;
        Ok(texts)
    }

    const TEXT: &str = r#"{"choices": [{"index": 0, "text": "{\"a\": "}]}"#;
    const END: &str = r#"{"choices": [{"index": 0, "text": "1}", "finish_reason": "stop"}]}"#;
    const USAGE: &str = r#"{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}"#;

    #[test]
    fn a_whole_stream_ends_every_choice_and_says_that_it_is_over() {
        assert_eq!(judged(&[TEXT, END, USAGE, "[DONE]"], false), Ok(2));
        let usage_alone = USAGE.replace(r#""choices": [], "#, "");
        assert_eq!(judged(&[TEXT, &END.replace(r#""index": 0, "#, ""), &usage_alone, "[DONE]"], false), Ok(2));
        let chat = r#"{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "length"}]}"#;
        assert_eq!(judged(&[chat, "[DONE]"], false), Ok(1));
    }

    #[test]
    fn every_lack_has_its_class() {
        assert_eq!(judged(&[TEXT, END], false), Err(FaultClass::Cut));
        assert_eq!(judged(&[TEXT, "[DONE]"], false), Err(FaultClass::Unfinished));
        assert_eq!(judged(&["[DONE]"], false), Err(FaultClass::Choices));
        assert_eq!(judged(&[TEXT, "{\"choi", "[DONE]"], false), Err(FaultClass::Unparseable));
        assert_eq!(judged(&["{}", "[DONE]"], false), Err(FaultClass::Unparseable));
        assert_eq!(judged(&[TEXT, r#"{"error": {"message": "x"}}"#], false), Err(FaultClass::ErrorEvent));
        assert_eq!(judged(&[END, "[DONE]", USAGE], false), Err(FaultClass::Unparseable));
    }

    #[test]
    fn an_answer_has_as_many_choices_as_were_asked_for() {
        let asked = |choices| Asked { endpoint: Endpoint::Completions, choices, has_schema: false };
        let second = END.replace(r#""index": 0"#, r#""index": 1"#);
        assert_eq!(judged_as(asked(2), &[TEXT, END, &second, "[DONE]"]), Ok(3));
        assert_eq!(judged_as(asked(2), &[TEXT, END, "[DONE]"]), Err(FaultClass::Choices));
        assert_eq!(judged_as(asked(1), &[TEXT, END, &second, "[DONE]"]), Err(FaultClass::Choices));
        let vectors = r#"{"data": [{"embedding": [0.5], "index": 0}]}"#;
        for (choices, expected) in [(1, Ok(())), (2, Err(FaultClass::Choices))] {
            let mut answer = Answer::new(Asked { endpoint: Endpoint::Embeddings, choices, has_schema: false });
            let judged = answer.take_body(vectors.as_bytes()).and_then(|()| answer.finish());
            assert_eq!(judged.map_err(|fault| fault.class), expected);
        }
    }

    #[test]
    fn a_text_under_a_schema_is_json_unless_it_was_cut_at_its_length() {
        assert_eq!(judged(&[TEXT, END, "[DONE]"], true), Ok(2));
        assert_eq!(judged(&[END, "[DONE]"], true), Err(FaultClass::Schema));
        assert_eq!(judged(&[&END.replace("stop", "length"), "[DONE]"], true), Ok(1));
    }

    #[test]
    fn a_body_is_judged_like_a_stream() {
        let judged = |endpoint, body: &str| {
            let mut answer = Answer::new(Asked { endpoint, choices: 1, has_schema: false });
            answer.take_body(body.as_bytes()).and_then(|()| answer.finish()).map_err(|fault| fault.class)
        };
        assert_eq!(
            judged(
                Endpoint::Chat,
                r#"{"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}"#
            ),
            Ok(())
        );
        assert_eq!(
            judged(Endpoint::Chat, r#"{"choices": [{"index": 0, "message": {}}]}"#),
            Err(FaultClass::Unfinished)
        );
        assert_eq!(judged(Endpoint::Embeddings, r#"{"data": [{"embedding": [0.5], "index": 0}]}"#), Ok(()));
        assert_eq!(judged(Endpoint::Embeddings, r#"{"data": []}"#), Err(FaultClass::Unparseable));
    }
}
