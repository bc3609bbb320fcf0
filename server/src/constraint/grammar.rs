//! Grammars that clients give, and their compilation.
//!
//! Compiling takes up to tens of milliseconds for what has passed a trial: it belongs on a thread for long work.

use std::panic::{AssertUnwindSafe, catch_unwind};

use llguidance::TokenParser;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compiled::{Compiled, Size};
use super::reader::Reader;
use super::vocabulary::Vocabulary;
use crate::request::Constraint;

/// White space between the tokens of JSON, where a schema does not ask for another form: enough for lines that are
/// indented, and not so much that an answer never ends.
const JSON_WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";

/// Bytes of memory of the smallest compiled grammar, and more for each byte of a text, which stand for its rules.
const GRAMMAR_BYTES: usize = 8 << 10;
const BYTES_PER_BYTE: usize = 41;
/// Bytes of an expression of a lexer in all tables but those that the library counts, and of a node of its tree.
const EXPRESSION_BYTES: usize = 4 << 10;
const NODE_BYTES: usize = 64;
/// Bytes that an answer has for itself: at the beginning, for an expression of the lexer, and for a byte of the text.
const ANSWER_BYTES: usize = 12 << 10;
const ANSWER_EXPRESSION_BYTES: usize = 512;
const ANSWER_BYTES_PER_BYTE: usize = 4;

/// Why a grammar is refused that the library has no reason against.
const LIBRARY_FAILS: &str = "the library that compiles grammars fails on it";

/// A form that answers must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Grammar {
    /// Any JSON object.
    JsonObject,
    /// JSON that is valid under a schema.
    JsonSchema(Value),
    /// A regular expression, in the syntax of the `regex` crate, for the whole answer.
    Regex(String),
    /// A context-free grammar in llguidance's dialect of Lark.
    Lark(String),
}

/// A grammar that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// It is wrong, unsupported, impossible or too large.
    #[error("{0}")]
    Refused(String),
    /// Compiling it takes more time, memory or stack than a request may.
    #[error("it takes too much time or memory to compile, or is nested too deeply")]
    TooLarge,
    /// There was no trial.
    #[error("the grammar could not be tried")]
    Failed,
}

impl Grammar {
    /// Compiles it over a vocabulary. It has passed a trial, or is trusted.
    ///
    /// # Errors
    /// With llguidance's reason when it is wrong, unsupported, impossible or too large.
    pub fn compile(self, vocabulary: &Vocabulary) -> Result<Constraint, GrammarError> {
        let text_bytes = serde_json::to_vec(&self).map_or(0, |text| text.len());
        let reader = self.reader(|grammar| vocabulary.parser(grammar), vocabulary.growth)?;
        let lexer = reader.parser.parser.lexer_stats();
        let (expressions, mask) = (lexer.num_regexps, vocabulary.size() / 8);
        let tables = lexer.num_bytes + NODE_BYTES * lexer.num_ast_nodes + mask + reader.kept_bytes();
        let rules = BYTES_PER_BYTE * text_bytes;
        let of_answer = ANSWER_BYTES + ANSWER_EXPRESSION_BYTES * expressions + ANSWER_BYTES_PER_BYTE * text_bytes;
        let size = Size {
            compiled: GRAMMAR_BYTES + tables + EXPRESSION_BYTES * expressions + rules,
            answer: of_answer + tables,
            growth: vocabulary.growth,
        };
        Ok(Constraint::new(Compiled::new(reader, &vocabulary.end_tokens, size)))
    }

    /// A reader with a parser as `make` makes it, which has read nothing but what the grammar forces, within so many
    /// bytes of memory.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(super) fn reader(
        self,
        make: impl FnOnce(TopLevelGrammar) -> Result<TokenParser, String>,
        most_bytes: usize,
    ) -> Result<Reader, GrammarError> {
        // A panic within the library is an error of this grammar and of nothing else.
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            let mut parser = make(self.into_library()).map_err(GrammarError::Refused)?;
            parser.start_without_prompt();
            let reader = Reader::new(parser, most_bytes);
            let mut reader = reader.map_err(|error| GrammarError::Refused(error.reason))?;
            // The first mask shows whether any answer matches.
            reader.parser.compute_mask().map_err(|_| GrammarError::Refused("no answer can match it".to_owned()))?;
            Ok(reader)
        }));
        compiled.unwrap_or_else(|_| Err(GrammarError::Refused(LIBRARY_FAILS.to_owned())))
    }

    pub(super) fn into_library(self) -> TopLevelGrammar {
        let grammar = match self {
            Self::JsonObject => GrammarWithLexer::from_json_schema(with_white_space(json!({"type": "object"}))),
            Self::JsonSchema(schema) => GrammarWithLexer::from_json_schema(with_white_space(schema)),
            Self::Regex(expression) => GrammarWithLexer::from_regex(&expression),
            Self::Lark(text) => GrammarWithLexer::from_lark(text),
        };
        TopLevelGrammar::from_grammar(grammar)
    }
}

/// Adds the form of white space to a schema, unless the schema has its own.
fn with_white_space(mut schema: Value) -> Value {
    if schema == Value::Bool(true) {
        schema = json!({});
    }
    if let Value::Object(fields) = &mut schema {
        fields.entry("x-guidance").or_insert_with(|| json!({ "whitespace_pattern": JSON_WHITE_SPACE }));
    }
    schema
}
