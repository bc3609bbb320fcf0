//! `POST /v1/encode`: the final state of every token.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::input_fields::{INPUT, table};
use super::list::List;
use super::task::{Answered, Task};
use super::vectors::{base64_bf16, base64_f32};
use crate::api::fields::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Field, FieldTable, Fields, Known, Most};
use crate::registry::ServedModel;
use crate::request::Readout;

const DTYPE: Field = Field::choice("dtype", &["float32", "bfloat16"])
    .or("\"float32\"")
    .about("`\"float32\"`, or `\"bfloat16\"`, which is rounded from float32.");
const PADDING: Field = Field::choice("padding", &["none", "longest", "max_length"]).or("\"none\"").about(
    "`\"longest\"` gives every input as many rows as the longest one, `\"max_length\"` as many as `max_length`.",
);
const MAX_LENGTH: Field = Field::integer("max_length", 1, Most::Number(1 << 20)).about(
    "1 to 1048576; required with `\"padding\": \"max_length\"` and refused without. An input with more tokens is \
     refused.",
);
/// The fields of this route alone.
pub const OWN: [Field; 3] = [DTYPE, PADDING, MAX_LENGTH];

static FIELDS: LazyLock<FieldTable> = LazyLock::new(|| table(&OWN));

/// The type of the numbers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberType {
    F32,
    Bf16,
}

/// Which inputs get rows of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    None,
    /// Up to the longest input.
    Longest,
    /// Up to so many rows.
    Rows(usize),
}

/// A request for states, beside its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encode {
    number: NumberType,
    padding: Padding,
}

impl NumberType {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    fn write(self, numbers: &[f32]) -> String {
        match self {
            Self::F32 => base64_f32(numbers),
            Self::Bf16 => base64_bf16(numbers),
        }
    }
}

impl Encode {
    /// Rows of an input of so many tokens.
    fn rows(&self, tokens: usize) -> usize {
        match self.padding {
            Padding::Rows(rows) => rows,
            Padding::None | Padding::Longest => tokens,
        }
    }
}

impl Task for Encode {
    fn known() -> &'static Known {
        &FIELDS
    }

    fn read(fields: &Fields, _: &ServedModel) -> Result<Self, ApiError> {
        let number = if fields.choice(&DTYPE)? == "bfloat16" { NumberType::Bf16 } else { NumberType::F32 };
        let rows = fields.whole(&MAX_LENGTH)?.map(|rows| to_u32(rows) as usize);
        let padding = match (fields.choice(&PADDING)?, rows) {
            ("max_length", Some(rows)) => Padding::Rows(rows),
            ("max_length", None) => return Err(ApiError::Missing { param: "max_length" }),
            (_, Some(_)) => {
                let problem = "is only allowed with \"padding\": \"max_length\"";
                return Err(ApiError::Invalid { param: "max_length".to_owned(), problem });
            }
            ("longest", None) => Padding::Longest,
            (_, None) => Padding::None,
        };
        Ok(Self { number, padding })
    }

    /// Turns padding to the longest input into a number of rows, and refuses inputs that have more.
    fn fit(&mut self, inputs: &[usize]) -> Result<(), ApiError> {
        let longest = inputs.iter().copied().max().unwrap_or_default();
        match self.padding {
            Padding::Longest => self.padding = Padding::Rows(longest),
            Padding::Rows(limit) if limit < longest => {
                return Err(ApiError::TooMany { param: INPUT, count: longest, unit: "tokens", limit });
            }
            Padding::Rows(_) | Padding::None => {}
        }
        Ok(())
    }

    fn readout(&self) -> Readout {
        Readout::EveryToken
    }

    fn numbers(&self, tokens: usize, model: &ServedModel) -> usize {
        self.rows(tokens).saturating_mul(model.encoder_width)
    }

    fn json_bytes_per_number(&self) -> usize {
        match self.number {
            NumberType::F32 => 6,
            NumberType::Bf16 => 3,
        }
    }

    fn answer(&self, answered: Answered) -> Vec<u8> {
        let (width, total) = (answered.model.encoder_width, answered.total_tokens());
        let data = answered.results.into_iter().zip(&answered.tokens).zip(0..);
        let states = data.map(|((mut numbers, &tokens), index)| {
            let rows = self.rows(tokens);
            numbers.resize(rows * width, 0.0);
            let states = self.number.write(&numbers);
            States { object: "states", index, shape: [rows, width], tokens, dtype: self.number.name(), states }
        });
        List { prefix: "enc-", data: states.collect(), tokens: total }.json(&answered.model.name)
    }
}

/// The states of one input.
#[derive(Serialize, ToSchema)]
pub struct States {
    object: &'static str,
    index: usize,
    /// Rows and numbers of each.
    #[schema(value_type = Vec<usize>)]
    shape: [usize; 2],
    /// Rows that are states; the others are zeros.
    tokens: usize,
    dtype: &'static str,
    states: String,
}
