//! Sources: rows of a file in turn, or made up from words or token ids; some of them repeated.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Uniform};

use super::prompts::{Prompt, Prompts};
use super::share;
use crate::error::LoadtestError;
use crate::scenario::{IdRange, Lengths, RequestKind};

/// First stream of the generator that repeated sources are made from; numbers of requests stay below it.
const REPEATED_STREAM: u64 = 1 << 62;
/// Short, frequent words, of which tokenizers make one token each.
const WORDS: [&str; 64] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "city",
    "name",
];

/// Makes the sources of a kind.
pub struct SourceMaker {
    prompts: Option<Prompts>,
    lengths: Lengths,
    ids: Option<IdRange>,
    repeated: f64,
    repeated_sources: u64,
}

/// A source with what is known about it.
pub struct Source {
    /// The source.
    pub prompt: Prompt,
    /// Its length in tokens, where it is known without a tokenizer.
    pub tokens: Option<u32>,
    /// Most tokens of the answer, where the file says so.
    pub max_tokens: Option<u32>,
}

impl SourceMaker {
    /// A maker for a kind of requests.
    ///
    /// # Errors
    /// A file of prompts that cannot be read.
    pub fn new(kind: &RequestKind) -> Result<Self, LoadtestError> {
        Ok(Self {
            prompts: kind.prompts.as_deref().map(Prompts::read).transpose()?,
            lengths: kind.source_tokens,
            ids: kind.ids,
            repeated: kind.repeated,
            repeated_sources: kind.repeated_sources,
        })
    }

    /// The source of request `number`, whose own draws come from `random`.
    pub fn source(&self, seed: u64, number: u64, random: &mut ChaCha8Rng) -> Source {
        let repeated = (share(random) < self.repeated)
            .then(|| Uniform::new(0, self.repeated_sources).expect("a checked number is above 0").sample(random));
        if let Some(prompts) = &self.prompts {
            let row = &prompts.rows[(repeated.unwrap_or(number) % prompts.rows.len() as u64) as usize];
            let tokens = match &row.prompt {
                Prompt::Ids(ids) => u32::try_from(ids.len()).ok(),
                Prompt::Text(_) | Prompt::Messages(_) => None,
            };
            return Source { prompt: row.prompt.clone(), tokens, max_tokens: row.max_tokens };
        }
        match repeated {
            None => self.made_up(random),
            Some(which) => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(REPEATED_STREAM + which);
                self.made_up(&mut random)
            }
        }
    }

    fn made_up(&self, random: &mut ChaCha8Rng) -> Source {
        let length = self.lengths.draw(random);
        match self.ids {
            Some(IdRange { from, to }) => {
                let ids = Uniform::new_inclusive(from, to).expect("a checked range is in order");
                let prompt = Prompt::Ids((0..length).map(|_| ids.sample(random)).collect());
                Source { prompt, tokens: Some(length), max_tokens: None }
            }
            None => {
                let words = Uniform::new(0, WORDS.len()).expect("there are words");
                let words: Vec<&str> = (0..length).map(|_| WORDS[words.sample(random)]).collect();
                Source { prompt: Prompt::Text(words.join(" ")), tokens: None, max_tokens: None }
            }
        }
    }
}
