//! `POST /v1/embeddings`: one vector for each input.

use serde::Serialize;

use super::input_fields::{KnownFields, known, read_choice};
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{Vector, VectorFormat, normalise};
use crate::api::fields::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Fields, Known};
use crate::registry::ServedModel;
use crate::request::Readout;

/// The names of the fields of a body.
static KNOWN: KnownFields = KnownFields::new(|| known(&["dimensions", "encoding_format", "normalize", "pooling"]));

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
    let format = read_choice(fields, "encoding_format", &["float", "base64"])?;
    Ok(if format == "base64" { VectorFormat::Base64 } else { VectorFormat::Float })
}

/// Reads how many numbers each vector has; `width` is the most.
fn read_dimensions(fields: &Fields, width: usize) -> Result<Option<usize>, ApiError> {
    Ok(fields.integer("dimensions", 1, width as u64)?.map(|dimensions| to_u32(dimensions) as usize))
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
        &KNOWN
    }

    fn read(fields: &Fields, model: &ServedModel) -> Result<Self, ApiError> {
        let pooling = read_choice(fields, "pooling", &["mean", "last"])?;
        Ok(Self {
            format: read_format(fields)?,
            dimensions: read_dimensions(fields, model.encoder_width)?,
            readout: if pooling == "last" { Readout::LastToken } else { Readout::Mean },
            normalize: fields.boolean("normalize")?.unwrap_or(true),
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
        List { prefix: "embd-", data, tokens: answered.total_tokens() }.json(&answered.model.name)
    }
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}
