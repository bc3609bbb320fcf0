//! Flags of `server bench`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;

/// Lengths, batch sizes and form of a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BenchOptions {
    /// Tokens of each source.
    #[arg(long = "source", value_name = "TOKENS", default_value = "256")]
    pub source_len: NonZeroUsize,
    /// Tokens generated from each, at least 2: the first ends the encoder's time, the others are steps.
    #[arg(long = "target", value_name = "TOKENS", default_value = "64", value_parser = target_len)]
    pub target_len: usize,
    /// Batch sizes, one measurement each [default: 1,8,32; with --sweep 1,2,4,8,16,32; with
    /// --beams its width and the next multiple from 32 on].
    #[arg(long = "batch", value_name = "SIZES", value_delimiter = ',')]
    batches: Vec<NonZeroUsize>,
    /// Measure every precision, print a table and write a report.
    #[arg(long, conflicts_with_all = ["profile", "dtype", "quantize"])]
    sweep: bool,
    /// Show time and bytes of each op instead, against what the memory allows.
    #[arg(long)]
    profile: bool,
    /// Compare steps of beam searches of this width with steps that sample as many rows. Batch sizes count rows and are
    /// multiples of the width.
    #[arg(long, value_name = "WIDTH", conflicts_with_all = ["sweep", "profile"])]
    beams: Option<NonZeroU32>,
    /// Compare steps under each control of requests with steps without.
    #[arg(long, conflicts_with_all = ["sweep", "profile", "beams"])]
    controls: bool,
    /// Compare answers in the form of the JSON schema in this file with free ones. The model needs a tokenizer
    /// (--tokenizer).
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["sweep", "profile", "beams", "controls", "copying", "mixed", "targets"]
    )]
    pub schema: Option<PathBuf>,
    /// Compare drafts with none on answers that copy so many percent of their source, 0 to 100.
    #[arg(
        long,
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100),
        conflicts_with_all = ["sweep", "profile", "beams", "controls"]
    )]
    copying: Option<u8>,
    /// Run so many requests of mixed lengths instead (512 tokens of source and target in the mean), all at once.
    #[arg(
        long,
        value_name = "REQUESTS",
        conflicts_with_all = [
            "sweep", "profile", "beams", "controls", "copying", "batches", "source_len", "target_len",
        ]
    )]
    mixed: Option<NonZeroUsize>,
    /// Search for the best of so many targets instead, at most 100000, and count the steps.
    #[arg(
        long,
        value_name = "TARGETS",
        conflicts_with_all = [
            "sweep", "profile", "beams", "controls", "copying", "mixed", "batches", "source_len", "target_len",
        ]
    )]
    targets: Option<NonZeroUsize>,
    /// Markdown page whose section the sweep writes [default: docs/benchmarks.md if there is one here, else
    /// benchmarks.md].
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub report: Option<PathBuf>,
}

/// How a bench measures and what it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchKind {
    /// A JSON line for each batch size.
    Lines,
    /// A table of every precision, and a report.
    Sweep,
    /// A table of ops for each batch size.
    Profile,
    /// A JSON line for each batch size, of searches of this width and of as many sampled rows.
    Beams(u32),
    /// A JSON line for each batch size and control.
    Controls,
    /// A JSON line for each batch size, of answers under a schema and of free ones.
    Schema,
    /// A JSON line for each batch size, of answers that copy so many percent of their source.
    Copying(u8),
    /// A JSON line for a number of requests of mixed lengths.
    Mixed(usize),
    /// A JSON line for each search among so many targets.
    Targets(usize),
}

impl BenchOptions {
    /// The form that the flags ask for.
    pub fn kind(&self) -> BenchKind {
        match self {
            Self { sweep: true, .. } => BenchKind::Sweep,
            Self { profile: true, .. } => BenchKind::Profile,
            Self { beams: Some(width), .. } => BenchKind::Beams(width.get()),
            Self { controls: true, .. } => BenchKind::Controls,
            Self { schema: Some(_), .. } => BenchKind::Schema,
            Self { copying: Some(percent), .. } => BenchKind::Copying(*percent),
            Self { mixed: Some(requests), .. } => BenchKind::Mixed(requests.get()),
            Self { targets: Some(count), .. } => BenchKind::Targets(count.get()),
            _ => BenchKind::Lines,
        }
    }

    /// Batch sizes in the order in which they are measured.
    pub fn batches(&self) -> Vec<usize> {
        if !self.batches.is_empty() {
            return self.batches.iter().map(|batch| batch.get()).collect();
        }
        match self.kind() {
            BenchKind::Sweep => vec![1, 2, 4, 8, 16, 32],
            BenchKind::Beams(width) => vec![width as usize, 32_usize.next_multiple_of(width as usize)],
            _ => vec![1, 8, 32],
        }
    }
}

fn target_len(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "is not a whole number".to_owned())?;
    if count >= 2 { Ok(count) } else { Err("must be at least 2".into()) }
}
