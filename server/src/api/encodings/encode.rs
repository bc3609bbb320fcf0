//! `POST /v1/encode`: the final state of every token.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::base64_numbers::{Base64Numbers, NumberType};
use super::input_fields::{INPUT, table};
use super::list::List;
use super::task::{Answered, Task};
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

/// The name of a type in requests and answers.
const fn name(number: NumberType) -> &'static str {
    match number {
        NumberType::F32 => "float32",
        NumberType::Bf16 => "bfloat16",
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
        let width = answered.model.encoder_width;
        let data = answered.results.iter().zip(&answered.tokens).zip(0..);
        let states = data.map(|((numbers, &tokens), index)| {
            let rows = self.rows(tokens);
            let states = Base64Numbers { numbers, zeros: (rows - tokens) * width, number: self.number };
            States { object: "states", index, shape: [rows, width], tokens, dtype: name(self.number), states }
        });
        let (tokens, most_bytes) = (answered.total_tokens(), answered.json_bytes);
        List { prefix: "enc-", data: states.collect(), tokens, most_bytes }.json(&answered.model.name)
    }
}

/// The states of one input.
#[derive(Serialize, ToSchema)]
pub struct States<'a> {
    object: &'static str,
    index: usize,
    /// Rows and numbers of each.
    #[schema(value_type = Vec<usize>)]
    shape: [usize; 2],
    /// Rows that are states; the others are zeros.
    tokens: usize,
    dtype: &'static str,
    #[schema(value_type = String)]
    states: Base64Numbers<'a>,
}
