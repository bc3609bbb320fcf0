//! Where a model computes: on the processor or on a GPU, and what is done there, whatever it is.
//!
//! Used by `loading`. From here on nobody asks which device it is.

use std::time::Instant;

use kernels::cpu::{Cpu, Isa, Level};
use kernels::cuda::{self, Cuda, Driver};
use kernels::profiled::Profile;
use kernels::{Backend, Bandwidth, KvFormat, LinearRows, MatrixUse, Precision, Profiled, Scheme, WeightPart};
use model::{Arithmetic, Model, ModelConfig, WeightSource, WorkspaceLimits};

use super::LoadError;
use crate::config::{Config, CrossKv, Device, ModelChoice};
use crate::engine::{Executor, ModelExecutor, StepExecutor, StepSizes};

/// A device that is ready to load a model.
pub(super) enum Place {
    Processor(Box<Cpu>, Level),
    Gpu(Box<Cuda<Driver>>),
}

/// A model in the memory of some device.
pub(super) trait Resident: Send {
    fn config(&self) -> &ModelConfig;
    fn arithmetic(&self) -> Arithmetic;
    fn page_bytes(&self) -> usize;
    fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize;
    fn describe(&self) -> String;
    fn bytes_per_s(&self) -> kernels::Result<f64>;
    fn products_per_s(&self) -> kernels::Result<f64>;
    fn screens_output(&self) -> bool;
    /// Gives it pages and working memory; steps have these numbers of rows where it pays that they are alike.
    fn executor(
        self: Box<Self>,
        pages: usize,
        limits: WorkspaceLimits,
        steps: &StepSizes,
    ) -> model::Result<Box<dyn Executor>>;
}

/// The device that the settings ask for, and the arithmetic there.
pub(super) fn find(config: &Config, quantize: Option<Scheme>) -> Result<(Place, Arithmetic), LoadError> {
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
            Ok(gpu) => return Ok((Place::Gpu(Box::new(gpu)), Arithmetic { precision, quantize, cross_kv: on_gpu })),
            Err(error) if choice.device == Device::Cuda => return Err(LoadError::Gpu(error)),
            Err(error) => tracing::warn!(%error, "there is a GPU, but the processor computes"),
        }
    }
    let arithmetic = Arithmetic { precision, quantize, cross_kv: choice.cross_kv.beside(precision) };
    Ok((Place::Processor(Box::new(processor(choice)?), instructions(choice)?.level()), arithmetic))
}

/// The processor with the instructions and threads that the settings allow.
pub(super) fn processor(choice: &ModelChoice) -> kernels::Result<Cpu> {
    Ok(Cpu::new(instructions(choice)?, choice.threads))
}

fn instructions(choice: &ModelChoice) -> kernels::Result<Isa> {
    choice.instruction_set.map_or_else(|| Ok(Isa::detect()), Isa::force)
}

impl Place {
    /// Name of the instructions the kernels use.
    pub fn instruction_set(&self) -> &'static str {
        match self {
            Self::Processor(_, level) => level.name(),
            Self::Gpu(_) => "cuda",
        }
    }

    /// Loads a model there; with `profile`, one whose ops are measured.
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

/// Rows, inputs and outputs of the product that measures them, larger than any of a model's.
const MEASURED: usize = 8192;
const MEASURED_ROWS: usize = 4096;
const MEASURED_TIMES: usize = 5;

/// Multiplications and additions a second, of two numbers each, in the best of a few large products.
fn products_per_s<B: Backend>(backend: &B, precision: Precision) -> kernels::Result<f64> {
    let part = WeightPart::Random { rows: MEASURED, cols: MEASURED, seed: 1, deviation: 1.0 };
    let matrix = backend.matrix(&[part], precision.into(), MatrixUse::Multiply)?;
    let (mut x, mut out) =
        (backend.activations(MEASURED_ROWS, MEASURED)?, backend.activations(MEASURED_ROWS, MEASURED)?);
    // Zeros would be multiplied faster: they cost less power.
    let mut values = vec![0.0; MEASURED_ROWS * MEASURED];
    WeightPart::Random { rows: 1, cols: values.len(), seed: 2, deviation: 1.0 }.read_row(0, &mut values);
    backend.upload(&values, &mut x);
    let mut best = f64::INFINITY;
    for _ in 0..MEASURED_TIMES {
        backend.wait();
        let start = Instant::now();
        backend.linear(&x, &matrix, LinearRows::first(MEASURED_ROWS), &mut out);
        backend.wait();
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (MEASURED_ROWS * MEASURED * MEASURED) as f64 / best)
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

    fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize {
        Self::workspace_bytes(self, limits)
    }

    fn describe(&self) -> String {
        self.backend().describe()
    }

    fn bytes_per_s(&self) -> kernels::Result<f64> {
        self.backend().bytes_per_s()
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
