//! Wishes of `generation_config.json` about the texts that are generated, as transformers' `generate` means them.
//!
//! Asked when a model is loaded to write texts; the server makes defaults of requests of them.

use std::fmt;

use serde_json::Value;

use super::document::ConfigDocument;
use super::fields::{Fields, Problems, brief};
use crate::error::Result;

/// Keys that become wishes.
pub(super) const WISHES: [&str; 20] = [
    "bad_words_ids",
    "begin_suppress_tokens",
    "do_sample",
    "early_stopping",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_beams",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// When a beam search ends whose beams could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchEnd {
    /// `false`: when no beam would score better at its present length.
    Unlikely,
    /// `true`: when there are as many hypotheses as beams.
    Full,
    /// `"never"`: when no beam can score better at any length.
    Impossible,
}

/// Wishes of a `generation_config.json`. Absent ones are not in the file; numbers are in the ranges of requests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationWishes {
    /// Whether tokens are drawn.
    pub do_sample: Option<bool>,
    /// From 0 to 100.
    pub temperature: Option<f64>,
    /// Number of most probable tokens that are kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// From 0 to 1.
    pub top_p: Option<f64>,
    /// From 0 to 1.
    pub min_p: Option<f64>,
    /// From 0.01 to 100.
    pub repetition_penalty: Option<f64>,
    /// Up to 1024.
    pub no_repeat_ngram_size: Option<u32>,
    /// Ids that are never chosen.
    pub suppress_tokens: Vec<u32>,
    /// Ids that are not chosen first.
    pub begin_suppress_tokens: Vec<u32>,
    /// Runs of ids that do not come, none of them empty.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// The first token where there is no decoder prompt.
    pub forced_bos_token_id: Option<u32>,
    /// The tokens among which the last one is where all that are allowed are generated.
    pub forced_eos_token_id: Vec<u32>,
    /// Fewest tokens to generate.
    pub min_new_tokens: Option<u32>,
    /// Most tokens to generate.
    pub max_new_tokens: Option<u32>,
    /// Fewest tokens of a target, its start token included.
    pub min_length: Option<u32>,
    /// Most tokens of a target, its start token included.
    pub max_length: Option<u32>,
    /// Width of a beam search; 1 is none.
    pub num_beams: Option<u32>,
    /// From -5 to 5.
    pub length_penalty: Option<f64>,
    /// The end of a beam search.
    pub early_stopping: Option<SearchEnd>,
}

/// A wish as the file has it. For people, its value is written briefly.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedWish {
    /// Its key.
    pub key: String,
    /// Its value, which is not null.
    pub value: Value,
}

impl fmt::Display for NamedWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, brief(&self.value))
    }
}

impl ConfigDocument {
    /// The wishes of `generation_config.json` for a vocabulary of so many ids; none without such a file.
    ///
    /// # Errors
    /// [`crate::Error::Config`] with every wish that cannot be fulfilled.
    pub fn generation_wishes(&self, vocab: usize) -> Result<GenerationWishes> {
        let fields = self.fields().generation;
        let mut reader = WishReader { fields, vocab, problems: Problems::default() };
        let wishes = reader.read();
        reader.problems.none_or_error(&self.path.with_file_name("generation_config.json"))?;
        Ok(wishes)
    }

    /// The keys that become wishes, each with its value, in the order of the file.
    pub fn named_generation_wishes(&self) -> Vec<NamedWish> {
        let fields = self.fields().generation;
        let named = fields.entries().filter(|(key, value)| !value.is_null() && WISHES.contains(&key.as_str()));
        named.map(|(key, value)| NamedWish { key: key.clone(), value: value.clone() }).collect()
    }
}

struct WishReader<'a> {
    fields: Fields<'a>,
    vocab: usize,
    problems: Problems,
}

impl WishReader<'_> {
    fn read(&mut self) -> GenerationWishes {
        let wishes = GenerationWishes {
            do_sample: self.fields.flag("do_sample", &mut self.problems),
            temperature: self.number("temperature", 0.0, 100.0),
            top_k: self.count("top_k", u32::MAX),
            top_p: self.number("top_p", 0.0, 1.0),
            min_p: self.number("min_p", 0.0, 1.0),
            repetition_penalty: self.number("repetition_penalty", 0.01, 100.0),
            no_repeat_ngram_size: self.count("no_repeat_ngram_size", 1024),
            suppress_tokens: self.ids("suppress_tokens"),
            begin_suppress_tokens: self.ids("begin_suppress_tokens"),
            bad_words_ids: self.words("bad_words_ids"),
            forced_bos_token_id: self.fields.token("forced_bos_token_id", Some(self.vocab), &mut self.problems),
            forced_eos_token_id: self.ids("forced_eos_token_id"),
            min_new_tokens: self.count("min_new_tokens", u32::MAX),
            max_new_tokens: self.count("max_new_tokens", u32::MAX),
            min_length: self.count("min_length", u32::MAX),
            max_length: self.count("max_length", u32::MAX),
            num_beams: self.count("num_beams", u32::MAX),
            length_penalty: self.number("length_penalty", -5.0, 5.0),
            early_stopping: self.search_end("early_stopping"),
        };
        if self.number("typical_p", 0.0, 1.0).is_some_and(|share| share != 1.0) {
            self.problems.add("typical_p", "is not supported: only 1, which changes nothing, is");
        }
        if wishes.do_sample == Some(true) && wishes.num_beams.is_some_and(|beams| beams > 1) {
            self.problems.add("num_beams", "is above 1 beside do_sample true: a beam search here draws no tokens");
        }
        wishes
    }

    fn number(&mut self, field: &str, least: f64, most: f64) -> Option<f64> {
        let value = self.fields.get(field)?;
        let number = value.as_f64().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.problems.add(field, format!("is {}, not a number from {least} to {most}", brief(value)));
        }
        number
    }

    fn count(&mut self, field: &str, most: u32) -> Option<u32> {
        let value = self.fields.get(field)?;
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|&count| count <= most);
        if count.is_none() {
            self.problems.add(field, format!("is {}, not a whole number from 0 to {most}", brief(value)));
        }
        count
    }

    /// A token id or a list of them, which may be empty.
    fn ids(&mut self, field: &str) -> Vec<u32> {
        match self.fields.get(field) {
            Some(Value::Array(list)) if list.is_empty() => Vec::new(),
            _ => self.fields.tokens(field, Some(self.vocab), &mut self.problems).unwrap_or_default(),
        }
    }

    fn words(&mut self, field: &str) -> Vec<Vec<u32>> {
        let Some(value) = self.fields.get(field) else { return Vec::new() };
        let id = |value: &Value| {
            value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < self.vocab)
        };
        let word = |value: &Value| -> Option<Vec<u32>> {
            value.as_array().filter(|ids| !ids.is_empty())?.iter().map(id).collect()
        };
        let words: Option<Vec<Vec<u32>>> = value.as_array().and_then(|list| list.iter().map(word).collect());
        if words.is_none() {
            self.problems.add(field, "is not a list of lists of token ids of the vocabulary");
        }
        words.unwrap_or_default()
    }

    fn search_end(&mut self, field: &str) -> Option<SearchEnd> {
        match self.fields.get(field)? {
            Value::Bool(true) => Some(SearchEnd::Full),
            Value::Bool(false) => Some(SearchEnd::Unlikely),
            Value::String(text) if text == "never" => Some(SearchEnd::Impossible),
            other => {
                self.problems.add(field, format!("is {}, not true, false or \"never\"", brief(other)));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn document(generation: &Value) -> ConfigDocument {
        ConfigDocument::parse(Path::new("config.json"), b"{}", Some(generation.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn every_wish_is_read_with_its_value_and_named() {
        let written = json!({
            "bad_words_ids": [[5], [6, 7]], "begin_suppress_tokens": [8], "do_sample": false, "early_stopping": "never",
            "forced_bos_token_id": 3, "forced_eos_token_id": [1, 9], "length_penalty": 0.6, "max_length": 20,
            "max_new_tokens": 30, "min_length": 2, "min_new_tokens": 4, "min_p": 0.1, "no_repeat_ngram_size": 3,
            "num_beams": 4, "repetition_penalty": 1.5, "suppress_tokens": [10, 11], "temperature": 0.7, "top_k": 50,
            "top_p": 0.9, "eos_token_id": 1,
        });
        let expected = GenerationWishes {
            do_sample: Some(false),
            temperature: Some(0.7),
            top_k: Some(50),
            top_p: Some(0.9),
            min_p: Some(0.1),
            repetition_penalty: Some(1.5),
            no_repeat_ngram_size: Some(3),
            suppress_tokens: vec![10, 11],
            begin_suppress_tokens: vec![8],
            bad_words_ids: vec![vec![5], vec![6, 7]],
            forced_bos_token_id: Some(3),
            forced_eos_token_id: vec![1, 9],
            min_new_tokens: Some(4),
            max_new_tokens: Some(30),
            min_length: Some(2),
            max_length: Some(20),
            num_beams: Some(4),
            length_penalty: Some(0.6),
            early_stopping: Some(SearchEnd::Impossible),
        };
        assert_eq!(document(&written).generation_wishes(12).unwrap(), expected);
        let named = document(&written).named_generation_wishes();
        assert_eq!(named.len(), 19, "{named:?}");
        assert!(named.iter().any(|wish| wish.to_string() == "repetition_penalty 1.5"), "{named:?}");
        assert_eq!(document(&json!({})).generation_wishes(12).unwrap(), GenerationWishes::default());
    }

    #[test]
    fn wishes_that_cannot_be_fulfilled_are_named_all_together() {
        let written = json!({
            "repetition_penalty": 0, "suppress_tokens": [12], "bad_words_ids": [[]], "forced_bos_token_id": -1,
            "max_length": 1.5, "early_stopping": 1, "do_sample": true, "num_beams": 2, "typical_p": 0.9,
        });
        let message = document(&written).generation_wishes(12).unwrap_err().to_string();
        let keys = ["repetition_penalty", "suppress_tokens", "bad_words_ids", "forced_bos_token_id", "max_length"];
        for key in keys.iter().chain(&["early_stopping", "num_beams", "typical_p", "generation_config.json"]) {
            assert!(message.contains(key), "{key}: {message}");
        }
    }
}
