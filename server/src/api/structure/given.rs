//! The one form that a request gives its answer.
//!
//! Made by `draft`, compiled by `compile`.

use crate::constraint::Form;

/// A form, and where it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenStructure {
    /// Name of the field in errors.
    pub param: &'static str,
    /// The form.
    pub form: Form,
}
