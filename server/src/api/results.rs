//! The engine's results for inputs that it encodes. Dropping them before they are complete cancels the work.
//!
//! Used by `encodings` and `scoring`.

use futures_util::future::select_all;

use super::answers::RequestRecord;
use super::http::ApiError;
use super::state::Api;
use super::turn::Turn;
use crate::engine::{Encoding, Slots};
use crate::registry::ServedModel;
use crate::request::{EncodeRequest, EncodingEvent, Refusal};
use crate::traces::PromptTimes;

/// Results of inputs that are being encoded, at least one.
#[derive(Debug)]
pub struct Results(Vec<Encoding>);

impl Results {
    /// Submits the requests, each with one of the places. Places that are left over are given back.
    ///
    /// # Errors
    /// The [`Refusal`] of the first one that the engine does not take.
    pub fn submit(
        model: &ServedModel,
        slots: Slots,
        requests: impl ExactSizeIterator<Item = EncodeRequest>,
    ) -> Result<Self, Refusal> {
        let places = slots.divide(requests.len(), 1);
        let submitted = places.zip(requests).map(|(slot, request)| model.engine.encode(slot, request));
        Ok(Self(submitted.collect::<Result<_, _>>()?))
    }

    /// Waits for all results, in the order of the inputs.
    ///
    /// # Errors
    /// When none of the inputs gets its turn in time, when one fails, or when the request has to end.
    pub async fn collect(
        mut self,
        api: &Api,
        turn: &Turn,
        record: &mut RequestRecord,
    ) -> Result<Vec<Vec<f32>>, ApiError> {
        record.unless_cut_off(turn.in_time(api, self.begin())).await??;
        turn.begun();
        let mut times = PromptTimes::default();
        record.started(0, &mut times);
        let results = record.unless_cut_off(self.finish()).await?;
        times.source_ready = Some(std::time::Instant::now());
        record.prompt_finished(&times);
        Ok(results)
    }

    /// Waits until the source of any input enters the encoder.
    async fn begin(&mut self) -> Result<(), ApiError> {
        let first = self.0.iter_mut().map(|encoding| Box::pin(encoding.next()));
        let (event, ..) = select_all(first).await;
        match event {
            // The result follows; `finish` waits for it.
            Some(EncodingEvent::Started) => Ok(()),
            Some(EncodingEvent::Encoded { .. }) => unreachable!("an encoder request starts before it ends"),
            Some(EncodingEvent::Failed { message, kind }) => Err(ApiError::failed(message, kind)),
            None => Err(ApiError::EngineGone),
        }
    }

    async fn finish(mut self) -> Result<Vec<Vec<f32>>, ApiError> {
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
            Some(EncodingEvent::Failed { message, kind }) => return Err(ApiError::failed(message, kind)),
            None => return Err(ApiError::EngineGone),
        }
    }
}
