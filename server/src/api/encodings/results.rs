//! The engine's results for the inputs of a request. Dropping them before they are complete cancels the work.

use futures_util::future::select_all;

use crate::api::http::ApiError;
use crate::engine::Encoding;
use crate::request::EncodingEvent;

/// Results of inputs that are being encoded.
#[derive(Debug)]
pub struct Results(Vec<Encoding>);

impl Results {
    /// Nothing has come of these inputs yet.
    pub const fn new(encodings: Vec<Encoding>) -> Self {
        Self(encodings)
    }

    /// Waits until the source of any input enters the encoder.
    ///
    /// # Errors
    /// When one fails first, or the engine is gone.
    pub async fn begin(&mut self) -> Result<(), ApiError> {
        let first = self.0.iter_mut().map(|encoding| Box::pin(encoding.next()));
        let (event, ..) = select_all(first).await;
        match event {
            // The result follows; `finish` waits for it.
            Some(EncodingEvent::Started) => Ok(()),
            Some(EncodingEvent::Encoded { .. }) => unreachable!("an encoder request starts before it ends"),
            Some(EncodingEvent::Failed { message, is_lasting }) => {
                Err(ApiError::EngineFailed { problem: message, is_lasting })
            }
            None => Err(ApiError::EngineGone),
        }
    }

    /// Waits for the results of all inputs, in their order.
    ///
    /// # Errors
    /// When one fails, or the engine is gone.
    pub async fn finish(mut self) -> Result<Vec<Vec<f32>>, ApiError> {
        let mut results = Vec::with_capacity(self.0.len());
        for encoding in &mut self.0 {
            results.push(result(encoding).await?);
        }
        Ok(results)
    }
}

async fn result(encoding: &mut Encoding) -> Result<Vec<f32>, ApiError> {
    loop {
        match encoding.next().await {
            Some(EncodingEvent::Started) => {}
            Some(EncodingEvent::Encoded { numbers }) => return Ok(numbers),
            Some(EncodingEvent::Failed { message, is_lasting }) => {
                return Err(ApiError::EngineFailed { problem: message, is_lasting });
            }
            None => return Err(ApiError::EngineGone),
        }
    }
}
