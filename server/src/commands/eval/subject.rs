//! The subject of an evaluation: a loaded checkpoint that answers questions of token ids.
//!
//! Each kind of checkpoint implements it in a file of its own.

use model::config::Architecture;

use super::answer::{Ask, Outcome};
use super::error::EvalError;
use super::input_spec::InputSpec;
use super::question::Question;
use super::rows::RowObjective;
use crate::commands::error::CommandError;

/// A checkpoint that can be evaluated.
pub trait Subject {
    /// Its architecture.
    fn architecture(&self) -> Architecture;

    /// Its arithmetic.
    fn arithmetic(&self) -> String;

    /// Checks that it can answer rows of this objective.
    fn check(&self, objective: RowObjective) -> Result<(), EvalError>;

    /// How texts become its questions.
    fn input_spec(&self) -> InputSpec;

    /// Answers all questions, and hands each outcome with the number of its row to `take`, in the order of the rows.
    fn answer(
        &mut self,
        questions: &mut dyn Iterator<Item = Result<Question, CommandError>>,
        ask: Ask,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError>;

    /// Ends its threads and frees its memory.
    fn end(self: Box<Self>);
}
