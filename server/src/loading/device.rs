//! The device that a model computes on, the processor or a GPU, and a model in its memory.
//!
//! Opened by `load`. Beyond this file nobody asks which device it is.

use kernels::cpu::{Cpu, Isa, Level};
use kernels::cuda::{self, Cuda, Driver};
use kernels::profiled::Profile;
use kernels::{Backend, Bandwidth, KvFormat, Profiled, Scheme, SpeedMeter, products_per_s};
use model::{Arithmetic, Model, ModelConfig, PagePieces, WeightSource, WorkspaceLimits};

use super::error::LoadError;
use super::shared::Shared;
use crate::config::{Config, CrossKv, Device, ModelChoice};
use crate::engine::{Executor, ModelExecutor, StepExecutor, StepSizes};

/// A device that is ready to load a model.
pub(super) enum OpenDevice {
    Processor(Box<Cpu>, Level),
    Gpu(Box<Cuda<Driver>>),
}

/// A model in the memory of some device.
pub(super) trait Resident: Send {
    fn config(&self) -> &ModelConfig;
    fn arithmetic(&self) -> Arithmetic;
    fn page_bytes(&self) -> usize;
    fn page_pieces(&self) -> PagePieces;
    fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize;
    fn describe(&self) -> String;
    fn speed_meter(&self) -> kernels::Result<SpeedMeter>;
    fn products_per_s(&self) -> kernels::Result<f64>;
    fn screens_output(&self) -> bool;
    /// Gives the model pages and working memory. Steps have one of these numbers of rows where equal steps are faster.
    fn executor(
        self: Box<Self>,
        pages: usize,
        limits: WorkspaceLimits,
        steps: &StepSizes,
    ) -> model::Result<Box<dyn Executor>>;
}

/// The device that the settings ask for, and the arithmetic there.
pub(super) fn open_device(
    config: &Config,
    quantize: Option<Scheme>,
    shared: &mut Shared,
) -> Result<(OpenDevice, Arithmetic), LoadError> {
    let choice = &config.model;
    let precision = choice.precision;
    let on_gpu = match choice.cross_kv {
        CrossKv::Auto | CrossKv::Same => precision.into(),
        CrossKv::Int8 => KvFormat::Int8,
    };
    let wanted = match choice.device {
        Device::Cpu => false,
        Device::Cuda => true,
        Device::Auto => cuda::is_present(),
    };
    if wanted {
        let opened = cuda::computes(precision, quantize, on_gpu).and_then(|()| Driver::open(0)).and_then(Cuda::new);
        let opened = opened.map(|gpu| if config.cuda.deterministic { gpu.deterministic() } else { gpu });
        match opened.map(|gpu| if config.cuda.overlap_kernels { gpu.overlapping() } else { gpu }) {
            Ok(gpu) => {
                return Ok((OpenDevice::Gpu(Box::new(gpu)), Arithmetic { precision, quantize, cross_kv: on_gpu }));
            }
            Err(error) if choice.device == Device::Cuda => return Err(LoadError::Gpu(error)),
            Err(error) => tracing::warn!(%error, "there is a GPU, but the processor computes"),
        }
    }
    let arithmetic = Arithmetic { precision, quantize, cross_kv: choice.cross_kv.beside(precision) };
    let processor = Box::new(processor(choice, shared)?);
    Ok((OpenDevice::Processor(processor, instructions(choice)?.level()), arithmetic))
}

/// The processor with the instructions and threads that the settings allow.
pub(super) fn processor(choice: &ModelChoice, shared: &mut Shared) -> kernels::Result<Cpu> {
    Ok(Cpu::on(instructions(choice)?, &shared.threads(choice.threads)))
}

fn instructions(choice: &ModelChoice) -> kernels::Result<Isa> {
    choice.instruction_set.map_or_else(|| Ok(Isa::detect()), Isa::force)
}

impl OpenDevice {
    /// Name of the instructions that the kernels use.
    pub fn instruction_set(&self) -> &'static str {
        match self {
            Self::Processor(_, level) => level.name(),
            Self::Gpu(_) => "cuda",
        }
    }

    /// Bytes of one page of a model there.
    pub fn page_bytes(&self, config: &ModelConfig, arithmetic: Arithmetic) -> usize {
        match self {
            Self::Processor(cpu, _) => model::page_bytes(&**cpu, config, arithmetic),
            Self::Gpu(gpu) => model::page_bytes(&**gpu, config, arithmetic),
        }
    }

    /// Loads a model into the device's memory; with `profile`, its ops are measured.
    pub fn load(
        self,
        source: &dyn WeightSource,
        arithmetic: Arithmetic,
        profile: Option<&Profile>,
        progress: &mut dyn FnMut(u64),
    ) -> model::Result<Box<dyn Resident>> {
        match self {
            Self::Processor(cpu, _) => load(*cpu, source, arithmetic, profile, progress),
            Self::Gpu(gpu) => load(*gpu, source, arithmetic, profile, progress),
        }
    }
}

fn load<B: Backend + Bandwidth>(
    backend: B,
    source: &dyn WeightSource,
    arithmetic: Arithmetic,
    profile: Option<&Profile>,
    progress: &mut dyn FnMut(u64),
) -> model::Result<Box<dyn Resident>> {
    Ok(match profile {
        None => Box::new(Model::load(backend, source, arithmetic, progress)?),
        Some(profile) => Box::new(Model::load(Profiled::new(backend, profile.clone()), source, arithmetic, progress)?),
    })
}

impl<B: Backend + Bandwidth> Resident for Model<B> {
    fn config(&self) -> &ModelConfig {
        Self::config(self)
    }

    fn arithmetic(&self) -> Arithmetic {
        Self::arithmetic(self)
    }

    fn page_bytes(&self) -> usize {
        Self::page_bytes(self)
    }

    fn page_pieces(&self) -> PagePieces {
        Self::page_pieces(self)
    }

    fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize {
        Self::workspace_bytes(self, limits)
    }

    fn describe(&self) -> String {
        self.backend().describe()
    }

    fn speed_meter(&self) -> kernels::Result<SpeedMeter> {
        self.backend().speed_meter()
    }

    fn products_per_s(&self) -> kernels::Result<f64> {
        products_per_s(self.backend(), Self::arithmetic(self).precision)
    }

    fn screens_output(&self) -> bool {
        Self::screens_output(self)
    }

    fn executor(
        self: Box<Self>,
        pages: usize,
        limits: WorkspaceLimits,
        steps: &StepSizes,
    ) -> model::Result<Box<dyn Executor>> {
        if self.backend().replays_steps() {
            return Ok(Box::new(StepExecutor::new(*self, pages, limits, steps)?));
        }
        Ok(Box::new(ModelExecutor::new(*self, pages, limits)?))
    }
}
