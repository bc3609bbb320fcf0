//! A body of a generating endpoint, read: what it asks for, and in which form it is to be answered.

use std::sync::Arc;

use super::bounds::RequestBounds;
use super::call::GenerationCall;
use crate::api::answers::AnswerForm;
use crate::api::http::ApiError;
use crate::registry::ServedModel;

/// Reads the body of one endpoint against the bounds of a model.
pub type ReadBody = fn(&[u8], &RequestBounds, &Arc<ServedModel>) -> Result<Asked, ApiError>;

/// A body that was read.
#[derive(Debug)]
pub struct Asked {
    /// Everything that is asked of the engine.
    pub call: GenerationCall,
    /// The form of the answer.
    pub form: Box<dyn AnswerForm>,
}
