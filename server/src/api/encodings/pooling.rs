//! `POST /pooling`: vLLM's route for whatever an encoder gives.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::classify::Classify;
use super::embeddings::{ENCODING_FORMAT, Embeddings, read_format};
use super::input_fields::table;
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{Vector, VectorFormat};
use crate::api::http::ApiError;
use crate::api::json::{Field, FieldTable, Fields, Known};
use crate::registry::ServedModel;
use crate::request::Readout;

const TASK: Field = Field::choice("task", &["token_embed", "embed", "classify"]).or("\"token_embed\"").about(
    "`\"token_embed\"` is the final state of every token, `\"embed\"` the vector of `/v1/embeddings`, `\"classify\"` \
     the probabilities of `/v1/classify`.",
);
/// The fields of this route alone.
pub const OWN: [Field; 2] = [TASK, ENCODING_FORMAT];

static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| table(&OWN));

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
        &FIELDS
    }

    fn check_model(fields: &Fields, model: &ServedModel) -> Result<(), ApiError> {
        if fields.choice(&TASK)? == "classify" { Ok(model.check_classifies()?) } else { Ok(()) }
    }

    fn read(fields: &Fields, _: &ServedModel) -> Result<Self, ApiError> {
        let format = read_format(fields)?;
        let kind = match fields.choice(&TASK)? {
            "embed" => Kind::Embedding(Embeddings::in_format(format)),
            "classify" => Kind::Classes,
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
        List { prefix: "pool-", data, tokens: answered.total_tokens(), most_bytes: answered.json_bytes }
            .json(&answered.model.name)
    }
}

/// The result of one input.
#[derive(Serialize, ToSchema)]
pub struct Pooled<'a> {
    index: usize,
    object: &'static str,
    data: Data<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Data<'a> {
    #[schema(value_type = Vec<Vec<f32>>)]
    Rows(Vec<&'a [f32]>),
    Vector(Vector<'a>),
}
