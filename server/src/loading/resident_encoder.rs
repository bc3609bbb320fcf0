//! An encoder without a decoder in the memory of some device.
//!
//! Loaded by `loaded_encoder` onto a device that `device` opened.

use kernels::Backend;
use model::{Arithmetic, EncoderCheckpoint, EncoderModel, LaneRows};

use super::device::OpenDevice;
use crate::engine::{EncoderExecutor, Executor};

/// An encoder in the memory of some device.
pub(super) trait ResidentEncoder: Send {
    fn arithmetic(&self) -> Arithmetic;
    fn space_bytes(&self, rows: LaneRows) -> usize;
    fn describe(&self) -> String;
    /// Gives the encoder working memory.
    fn executor(self: Box<Self>, rows: LaneRows) -> model::Result<Box<dyn Executor>>;
}

impl OpenDevice {
    /// Loads an encoder into the device's memory.
    pub fn load_encoder(
        self,
        source: &EncoderCheckpoint,
        arithmetic: Arithmetic,
        progress: &mut dyn FnMut(u64),
    ) -> model::Result<Box<dyn ResidentEncoder>> {
        Ok(match self {
            Self::Processor(cpu, _) => Box::new(EncoderModel::load(*cpu, source, arithmetic, progress)?),
            Self::Gpu(gpu) => Box::new(EncoderModel::load(*gpu, source, arithmetic, progress)?),
        })
    }
}

impl<B: Backend> ResidentEncoder for EncoderModel<B> {
    fn arithmetic(&self) -> Arithmetic {
        Self::arithmetic(self)
    }

    fn space_bytes(&self, rows: LaneRows) -> usize {
        Self::space_bytes(self, rows)
    }

    fn describe(&self) -> String {
        self.backend().describe()
    }

    fn executor(self: Box<Self>, rows: LaneRows) -> model::Result<Box<dyn Executor>> {
        Ok(Box::new(EncoderExecutor::new(*self, rows)?))
    }
}
