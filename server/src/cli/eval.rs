//! Flags of `server eval`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Rows to evaluate, and figures to compute.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct EvalOptions {
    /// JSONL rows: input and target, input and label, or text; or their token ids.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Objective of the rows; auto goes by the first row.
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pub objective: ObjectiveChoice,
    /// Figures to compute [default: all that the objective has].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub metrics: Vec<Metric>,
    /// Tokens to write at most for each row.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Tokens of a source at most; longer ones are cut [default: the model's maximum].
    #[arg(long, value_name = "COUNT")]
    pub max_source_tokens: Option<NonZeroUsize>,
    /// Tokens of a target at most, its end token counted; longer ones are cut [default: the model's maximum].
    #[arg(long, value_name = "COUNT")]
    pub max_target_tokens: Option<NonZeroUsize>,
    /// Tokens of a text at most; longer ones are cut [default: the model's maximum].
    #[arg(long, value_name = "COUNT")]
    pub max_text_tokens: Option<NonZeroUsize>,
    /// Text between source and target in a decoder-only model [default: an empty line].
    #[arg(long, value_name = "TEXT", default_value = "\n\n", hide_default_value = true)]
    pub separator: String,
    /// Rows to read at most, from the start.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<NonZeroUsize>,
    /// File to write a JSON line to for each row: what was written, what was wanted, its loss.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Objective of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ObjectiveChoice {
    /// The objective of the first row.
    Auto,
    /// The target from the input.
    Seq2seq,
    /// The label of the input.
    Classify,
    /// The second half of a text from its first.
    PrefixLm,
    /// Each token of a text from those before it (decoder-only models).
    Causal,
}

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Metric {
    /// Cross-entropy of the wanted tokens, perplexity, and how many were the most probable ones.
    Loss,
    /// ROUGE-1, ROUGE-2 and ROUGE-L.
    Rouge,
    /// BLEU.
    Bleu,
    /// The character n-gram scores chrF and chrF++.
    Chrf,
    /// Share of rows that are answered exactly.
    Accuracy,
}
