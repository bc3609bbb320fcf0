//! `POST /v1/embeddings`: one vector for each input.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::input_fields::table;
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{Vector, VectorFormat, normalise};
use crate::api::fields::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Field, FieldTable, Fields, Known, Most};
use crate::registry::ServedModel;
use crate::request::Readout;

const POOLING: Field = Field::choice("pooling", &["mean", "last"]).or("\"mean\"").about(
    "`\"mean\"` is the mean of the final states of all tokens, special ones included; `\"last\"` is the state of the \
     last token.",
);
const NORMALIZE: Field = Field::boolean("normalize").or("true").about("Whether each vector is scaled to length 1.");
const DIMENSIONS: Field = Field::integer("dimensions", 1, Most::Number(u32::MAX as u64)).absent("all").about(
    "1 to the width of the encoder: so many of the first numbers are kept, and `normalize` applies to those. Whether \
     they mean anything by themselves is a matter of the model's training.",
);
/// The field that says how numbers are written.
pub const ENCODING_FORMAT: Field = Field::choice("encoding_format", &["float", "base64"])
    .or("\"float\"")
    .about("`\"float\"` is a list of numbers, `\"base64\"` the bytes of little-endian float32 in base64.");
/// The fields of this route alone.
pub const OWN: [Field; 4] = [POOLING, NORMALIZE, DIMENSIONS, ENCODING_FORMAT];

static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| table(&OWN));

/// A request for embeddings, beside its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embeddings {
    format: VectorFormat,
    dimensions: Option<usize>,
    readout: Readout,
    normalize: bool,
}

/// Reads the field that says how vectors are written.
pub fn read_format(fields: &Fields) -> Result<VectorFormat, ApiError> {
    Ok(if fields.choice(&ENCODING_FORMAT)? == "base64" { VectorFormat::Base64 } else { VectorFormat::Float })
}

/// Reads how many numbers each vector has; `width` is the most.
fn read_dimensions(fields: &Fields, width: usize) -> Result<Option<usize>, ApiError> {
    Ok(fields.integer(DIMENSIONS.name, 1, width as u64)?.map(|dimensions| to_u32(dimensions) as usize))
}

impl Embeddings {
    /// Vectors in this format, with the other settings at their defaults.
    pub const fn in_format(format: VectorFormat) -> Self {
        Self { format, dimensions: None, readout: Readout::Mean, normalize: true }
    }

    /// Cuts and scales results to the vectors that were asked for.
    pub fn finish(&self, results: &mut [Vec<f32>]) {
        for result in results {
            result.truncate(self.dimensions.unwrap_or(usize::MAX));
            if self.normalize {
                normalise(result);
            }
        }
    }
}

impl Task for Embeddings {
    fn known() -> &'static Known {
        &FIELDS
    }

    fn read(fields: &Fields, model: &ServedModel) -> Result<Self, ApiError> {
        let pooling = fields.choice(&POOLING)?;
        Ok(Self {
            format: read_format(fields)?,
            dimensions: read_dimensions(fields, model.encoder_width)?,
            readout: if pooling == "last" { Readout::LastToken } else { Readout::Mean },
            normalize: fields.flag(&NORMALIZE)?,
        })
    }

    fn readout(&self) -> Readout {
        self.readout
    }

    fn numbers(&self, _: usize, model: &ServedModel) -> usize {
        model.encoder_width
    }

    fn json_bytes_per_number(&self) -> usize {
        self.format.json_bytes()
    }

    fn answer(&self, mut answered: Answered) -> Vec<u8> {
        self.finish(&mut answered.results);
        let embedding =
            |(numbers, index)| Embedding { object: "embedding", index, embedding: self.format.write(numbers) };
        let data = answered.results.iter().map(Vec::as_slice).zip(0..).map(embedding).collect();
        List { prefix: "embd-", data, tokens: answered.total_tokens(), most_bytes: answered.json_bytes }
            .json(&answered.model.name)
    }
}

/// The vector of one input.
#[derive(Serialize, ToSchema)]
pub struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}
