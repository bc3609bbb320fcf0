//! The figures of an evaluation: counted row by row, printed as a table or as one JSON object.
//!
//! Used by `eval`. The figures themselves are computed in `evaluation`.

use serde::Serialize;

use super::answer::Answer;
use crate::cli::Metric;
use crate::evaluation::{Accuracy, Bleu, Chrf, ChrfWords, Likelihood, Rouge};

/// Counts of the rows so far.
pub struct Measured {
    likelihood: Likelihood,
    rouge: Option<Rouge>,
    bleu: Option<Bleu>,
    chrf: Option<[Chrf; 2]>,
    accuracy: Option<Accuracy>,
}

/// The measured figures. Keys are those of the packages that define them; a figure that was not asked for is absent.
#[derive(Debug, Default, Serialize)]
pub struct Scores {
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rouge1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rouge2: Option<f64>,
    #[serde(rename = "rougeL", skip_serializing_if = "Option::is_none")]
    rouge_l: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chrf: Option<f64>,
    #[serde(rename = "chrf++", skip_serializing_if = "Option::is_none")]
    chrf_words: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct EvalFigures {
    /// Name of the model.
    pub model: String,
    /// Its architecture.
    pub architecture: String,
    /// Its arithmetic.
    pub arithmetic: String,
    /// The file of rows.
    pub data: String,
    /// Objective of the rows.
    pub objective: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Sources that were too long and were cut.
    pub cut_sources: usize,
    /// Targets that were too long and were cut.
    pub cut_targets: usize,
    /// Warnings about the checkpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Measured figures.
    #[serde(flatten)]
    pub measured: Scores,
    /// Time since the start of the command.
    pub seconds: f64,
}

impl Measured {
    /// Counts of these metrics, all zero.
    pub fn new(metrics: &[Metric]) -> Self {
        let wants = |metric: Metric| metrics.contains(&metric);
        Self {
            likelihood: Likelihood::default(),
            rouge: wants(Metric::Rouge).then(Rouge::default),
            bleu: wants(Metric::Bleu).then(Bleu::default),
            chrf: wants(Metric::Chrf).then(|| [ChrfWords::None, ChrfWords::Pairs].map(Chrf::new)),
            accuracy: wants(Metric::Accuracy).then(Accuracy::default),
        }
    }

    /// Counts a row.
    pub fn add(&mut self, wanted: &str, answer: &Answer) {
        self.likelihood.merge(answer.likelihood.unwrap_or_default());
        let Some(written) = &answer.written else { return };
        self.rouge.iter_mut().for_each(|rouge| rouge.add(written, wanted));
        self.bleu.iter_mut().for_each(|bleu| bleu.add(written, wanted));
        self.chrf.iter_mut().flatten().for_each(|chrf| chrf.add(written, wanted));
        self.accuracy.iter_mut().for_each(|accuracy| accuracy.add(written, wanted));
    }

    /// Figures of all rows so far.
    pub fn scores(&self) -> Scores {
        let rouge = self.rouge.as_ref().and_then(Rouge::mean);
        let chrf = self.chrf.as_ref().map(|chrf| chrf.each_ref().map(Chrf::score));
        Scores {
            loss: self.likelihood.loss(),
            // A perplexity beyond the range of float64 cannot be printed.
            perplexity: self.likelihood.perplexity().filter(|perplexity| perplexity.is_finite()),
            token_accuracy: self.likelihood.accuracy(),
            target_tokens: (self.likelihood.tokens > 0).then_some(self.likelihood.tokens),
            rouge1: rouge.map(|rouge| rouge.rouge1),
            rouge2: rouge.map(|rouge| rouge.rouge2),
            rouge_l: rouge.map(|rouge| rouge.rouge_l),
            bleu: self.bleu.as_ref().map(Bleu::score),
            chrf: chrf.map(|[characters, _]| characters),
            chrf_words: chrf.map(|[_, words]| words),
            accuracy: self.accuracy.as_ref().and_then(Accuracy::share),
        }
    }
}

impl EvalFigures {
    /// One JSON object on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text serialise")
    }

    /// A line for each figure, with four digits after the point.
    pub fn table(&self) -> String {
        let value = serde_json::to_value(self).expect("numbers and text serialise");
        let fields = value.as_object().expect("figures are an object");
        let shown = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) if number.is_f64() => {
                number.as_f64().map_or_else(String::new, |number| format!("{number:.4}"))
            }
            other => other.to_string(),
        };
        let width = fields.keys().map(String::len).max().unwrap_or(0);
        let lines = fields.iter().map(|(name, value)| format!("{name:<width$}  {}", shown(value)));
        lines.collect::<Vec<_>>().join("\n")
    }
}
