//! `POST /v1/classify`: the scores of a classification head, in vLLM's form.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::input_fields::table;
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{VectorFormat, softmax};
use crate::api::http::ApiError;
use crate::api::json::{Field, FieldTable, Fields, Known};
use crate::registry::ServedModel;
use crate::request::Readout;

const USE_ACTIVATION: Field = Field::boolean("use_activation")
    .or("true")
    .about("Whether `probs` are probabilities (softmax of the head's scores) or, with `false`, the scores themselves.");
/// The fields of this route alone.
pub const OWN: [Field; 1] = [USE_ACTIVATION];

static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| table(&OWN));

/// A request for classes, beside its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classify {
    use_activation: bool,
}

impl Classify {
    /// Probabilities of the classes.
    pub const PROBABILITIES: Self = Self { use_activation: true };

    /// Turns scores into probabilities, where those were asked for.
    pub fn finish(self, results: &mut [Vec<f32>]) {
        if self.use_activation {
            results.iter_mut().for_each(|scores| softmax(scores));
        }
    }
}

impl Task for Classify {
    fn known() -> &'static Known {
        &FIELDS
    }

    fn check_model(_: &Fields, model: &ServedModel) -> Result<(), ApiError> {
        Ok(model.check_classifies()?)
    }

    fn read(fields: &Fields, _: &ServedModel) -> Result<Self, ApiError> {
        Ok(Self { use_activation: fields.flag(&USE_ACTIVATION)? })
    }

    fn readout(&self) -> Readout {
        Readout::Classes
    }

    fn numbers(&self, _: usize, model: &ServedModel) -> usize {
        model.labels.len()
    }

    fn json_bytes_per_number(&self) -> usize {
        VectorFormat::Float.json_bytes()
    }

    fn answer(&self, mut answered: Answered) -> Vec<u8> {
        self.finish(&mut answered.results);
        let labels = &answered.model.labels;
        let data = answered.results.iter().zip(0..).map(|(probs, index)| {
            let best = (0..probs.len()).fold(0, |best, other| if probs[other] > probs[best] { other } else { best });
            Class { index, label: &labels[best], probs, num_classes: labels.len() }
        });
        let (tokens, most_bytes) = (answered.total_tokens(), answered.json_bytes);
        List { prefix: "classify-", data: data.collect(), tokens, most_bytes }.json(&answered.model.name)
    }
}

/// The class of one input.
#[derive(Serialize, ToSchema)]
pub struct Class<'a> {
    index: usize,
    /// The class of the highest score; of equal ones the first.
    label: &'a str,
    probs: &'a [f32],
    num_classes: usize,
}
