//! `POST /pooling`: vLLM's route for whatever an encoder gives.

use serde::Serialize;

use super::classify::{Classify, check_head};
use super::embeddings::{Embeddings, read_format};
use super::input_fields::{KnownFields, known, read_choice};
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{Vector, VectorFormat};
use crate::api::http::ApiError;
use crate::api::json::{Fields, Known};
use crate::registry::ServedModel;
use crate::request::Readout;

/// The names of the fields of a body.
static KNOWN: KnownFields = KnownFields::new(|| known(&["encoding_format", "task"]));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    States,
    Embedding(Embeddings),
    Classes,
}

/// A request for pooling, beside its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    kind: Kind,
    format: VectorFormat,
}

impl Task for Pooling {
    fn known() -> &'static Known {
        &KNOWN
    }

    fn read(fields: &Fields, model: &ServedModel) -> Result<Self, ApiError> {
        let format = read_format(fields)?;
        let kind = match read_choice(fields, "task", &["token_embed", "embed", "classify"])? {
            "embed" => Kind::Embedding(Embeddings::in_format(format)),
            "classify" => {
                check_head(model)?;
                Kind::Classes
            }
            _ => Kind::States,
        };
        Ok(Self { kind, format })
    }

    fn readout(&self) -> Readout {
        match self.kind {
            Kind::States => Readout::EveryToken,
            Kind::Embedding(embeddings) => embeddings.readout(),
            Kind::Classes => Readout::Classes,
        }
    }

    fn numbers(&self, tokens: usize, model: &ServedModel) -> usize {
        match self.kind {
            Kind::States => tokens.saturating_mul(model.encoder_width),
            Kind::Embedding(_) => model.encoder_width,
            Kind::Classes => model.labels.len(),
        }
    }

    fn json_bytes_per_number(&self) -> usize {
        self.format.json_bytes()
    }

    fn answer(&self, mut answered: Answered) -> Vec<u8> {
        match self.kind {
            Kind::States => {}
            Kind::Embedding(embeddings) => embeddings.finish(&mut answered.results),
            Kind::Classes => Classify::PROBABILITIES.finish(&mut answered.results),
        }
        let width = answered.model.encoder_width;
        let written = |numbers| match (self.kind, self.format) {
            (Kind::States, VectorFormat::Float) => Data::Rows(<[f32]>::chunks_exact(numbers, width).collect()),
            _ => Data::Vector(self.format.write(numbers)),
        };
        let pooled = |(numbers, index)| Pooled { index, object: "pooling", data: written(numbers) };
        let data = answered.results.iter().map(Vec::as_slice).zip(0..).map(pooled).collect();
        List { prefix: "pool-", data, tokens: answered.total_tokens() }.json(&answered.model.name)
    }
}

#[derive(Serialize)]
struct Pooled<'a> {
    index: usize,
    object: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Rows(Vec<&'a [f32]>),
    Vector(Vector<'a>),
}
