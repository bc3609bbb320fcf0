//! Requests by their number: pure functions of the scenario and its seed.

mod body;
mod prompts;
mod source;

use hyper::body::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::Value;

pub use prompts::{Prompt, Prompts};

use self::body::{Body, choices};
use self::source::{Source, SourceMaker};
use crate::client::Asked;
use crate::error::LoadtestError;
use crate::scenario::{RequestKind, Scenario};

/// Makes requests by their number.
pub struct Workload {
    seed: u64,
    model: String,
    kinds: Vec<Kind>,
    /// Sums of the weights up to each kind; the last is the whole.
    weights: Vec<f64>,
}

struct Kind {
    asked: RequestKind,
    sources: SourceMaker,
    schema: Option<Value>,
    extra: serde_json::Map<String, Value>,
}

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Index of its kind.
    pub kind: usize,
    /// Requirements of its answer.
    pub asked: Asked,
    /// Body in JSON.
    pub body: Bytes,
    /// Whether the answer is streamed.
    pub is_streamed: bool,
    /// Length of the source in tokens, where it is known without a tokenizer.
    pub source_tokens: Option<u32>,
    /// How the client behaves.
    pub behaviour: Behaviour,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// Reads the answer as it comes.
    Reads,
    /// Closes the connection after so many seconds.
    Cancels(f64),
    /// Pauses for so many seconds after each piece of the answer.
    ReadsSlowly(f64),
    /// Reads nothing, and drops the connection after so many seconds.
    Vanishes(f64),
}

impl Workload {
    /// A workload of a checked scenario, for the model of this name.
    ///
    /// # Errors
    /// Files of prompts or schemas that cannot be read, or are none.
    pub fn new(scenario: &Scenario, model: String) -> Result<Self, LoadtestError> {
        let kinds = scenario.requests.iter().map(Kind::new).collect::<Result<Vec<_>, _>>()?;
        let weights = kinds.iter().scan(0.0, |sum, kind| {
            *sum += kind.asked.weight;
            Some(*sum)
        });
        Ok(Self { seed: scenario.seed, model, weights: weights.collect(), kinds })
    }

    /// Names of the kinds, by their index.
    pub fn kind_names(&self) -> Vec<String> {
        self.kinds.iter().map(|kind| kind.asked.name().to_owned()).collect()
    }

    /// The request of this number.
    pub fn request(&self, number: u64) -> Request {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number);
        let total = self.weights.last().copied().unwrap_or_default();
        let place = share(&mut random) * total;
        let kind_index = self.weights.partition_point(|sum| *sum <= place).min(self.kinds.len() - 1);
        let kind = &self.kinds[kind_index];
        let behaviour = behaviour(&kind.asked, share(&mut random));
        let Source { prompt, tokens, max_tokens } = kind.sources.source(self.seed, number, &mut random);
        let max_tokens = max_tokens.unwrap_or_else(|| kind.asked.max_tokens.draw(&mut random));
        let body = Body {
            kind: &kind.asked,
            model: &self.model,
            prompt: &prompt,
            max_tokens,
            schema: kind.schema.as_ref(),
            extra: &kind.extra,
        };
        let fields = body.fields();
        Request {
            kind: kind_index,
            asked: Asked {
                endpoint: kind.asked.endpoint,
                choices: choices(&fields),
                has_schema: kind.schema.is_some(),
            },
            body: serde_json::to_vec(&fields).expect("a map of JSON values can be written").into(),
            is_streamed: kind.asked.is_streamed(),
            source_tokens: tokens,
            behaviour,
        }
    }
}

impl Kind {
    fn new(asked: &RequestKind) -> Result<Self, LoadtestError> {
        let schema = asked.schema.as_deref().map(prompts::read_json).transpose()?;
        let extra = match serde_json::to_value(&asked.extra) {
            Ok(Value::Object(extra)) => extra,
            _ => serde_json::Map::new(),
        };
        Ok(Self { sources: SourceMaker::new(asked)?, asked: asked.clone(), schema, extra })
    }
}

/// A number from 0 to below 1.
fn share(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn behaviour(kind: &RequestKind, mut place: f64) -> Behaviour {
    let cancels = kind.cancel.map(|cancel| (cancel.share, Behaviour::Cancels(cancel.after_ms / 1000.0)));
    let slow = kind.slow.map(|slow| (slow.share, Behaviour::ReadsSlowly(slow.pause_ms / 1000.0)));
    let vanishes = kind.vanish.map(|vanish| (vanish.share, Behaviour::Vanishes(vanish.seconds)));
    for (share, behaviour) in [cancels, slow, vanishes].into_iter().flatten() {
        if place < share {
            return behaviour;
        }
        place -= share;
    }
    Behaviour::Reads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(requests: &str) -> Workload {
        let scenario = Scenario::parse(&format!("seed = 3\n{requests}")).unwrap();
        Workload::new(&scenario, "demo".to_owned()).unwrap()
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn a_number_and_a_seed_decide_a_request() {
        let text = "[[requests]]\nsource_tokens = { distribution = 'uniform', least = 3, most = 90 }\n";
        let (one, other) = (workload(text), workload(text));
        assert_eq!(one.request(7), other.request(7));
        assert_ne!(body(&one.request(7))["prompt"], body(&one.request(8))["prompt"]);
        let seeded = Scenario::parse(&format!("seed = 4\n{text}")).unwrap();
        let seeded = Workload::new(&seeded, "demo".to_owned()).unwrap();
        assert_ne!(body(&one.request(7))["prompt"], body(&seeded.request(7))["prompt"]);
    }

    #[test]
    fn kinds_have_their_shares() {
        let mix = workload("[[requests]]\nweight = 3\n[[requests]]\nendpoint = 'embeddings'\n");
        let embeddings = (0..4000).filter(|number| mix.request(*number).kind == 1).count();
        assert!((900..1100).contains(&embeddings), "{embeddings} of 4000");
    }

    #[test]
    fn repeated_sources_have_their_share_and_number() {
        let text = "[[requests]]\nids = { from = 10, to = 99999 }\nrepeated = 0.4\nrepeated_sources = 5\n";
        let repeats = workload(text);
        let mut seen = std::collections::BTreeMap::<String, u32>::new();
        for number in 0..2000 {
            *seen.entry(body(&repeats.request(number))["prompt"].to_string()).or_default() += 1;
        }
        let repeated: Vec<u32> = seen.into_values().filter(|times| *times > 1).collect();
        let total: u32 = repeated.iter().sum();
        assert_eq!(repeated.len(), 5);
        assert!((700..900).contains(&total), "{total} of 2000");
    }

    #[test]
    fn behaviours_have_their_shares() {
        let text = "[[requests]]\nsource_tokens = 1\ncancel = { share = 0.2, after_ms = 5 }\n\
                    slow = { share = 0.1, pause_ms = 20 }\n\
                    vanish = { share = 0.3, seconds = 2 }\n";
        let mix = workload(text);
        let seen: Vec<Behaviour> = (0..3000).map(|number| mix.request(number).behaviour).collect();
        let count = |expected| seen.iter().filter(|behaviour| **behaviour == expected).count();
        for (behaviour, expected) in [
            (Behaviour::Cancels(0.005), 600_usize),
            (Behaviour::ReadsSlowly(0.02), 300),
            (Behaviour::Vanishes(2.0), 900),
            (Behaviour::Reads, 1200),
        ] {
            let counted = count(behaviour);
            assert!(counted.abs_diff(expected) < 90, "{behaviour:?}: {counted}");
        }
    }
}
