//! Flags of `server generate`.

use std::path::PathBuf;

use clap::Args;

/// One continuation on the terminal.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GenerateOptions {
    /// Source text; read from standard input when absent or "-".
    pub prompt: Option<String>,
    /// Text that the decoder continues without a source (T5Gemma 2).
    #[arg(long = "continue", value_name = "TEXT", conflicts_with = "prompt")]
    pub continued: Option<String>,
    /// Tokens to generate at most.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Randomness of the choice; 0, as anything below 1e-5, always takes the most probable token.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = temperature)]
    pub temperature: f64,
    /// Choose among the most probable tokens that make up this share, above 0 and up to 1.
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = top_p)]
    pub top_p: f32,
    /// Choose among this many of the most probable tokens; 0 is all.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub top_k: u32,
    /// Seed of the choice; a random one when absent.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Write the best hypothesis of a beam search of this width. With --choice it is the best of all of them.
    #[arg(
        long, value_name = "WIDTH", value_parser = clap::value_parser!(u32).range(2..=64),
        conflicts_with_all = ["temperature", "top_p", "top_k", "seed"]
    )]
    pub beams: Option<u32>,
    /// Form of the answer.
    #[command(flatten)]
    pub form: AnswerForm,
}

/// The form that the answer must have; any by default.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[group(multiple = false)]
pub struct AnswerForm {
    /// Answer with JSON that is valid under the JSON Schema in this file.
    #[arg(long, value_name = "FILE")]
    pub json_schema: Option<PathBuf>,
    /// Answer with a text that this regular expression matches from end to end.
    #[arg(long, value_name = "EXPRESSION")]
    pub regex: Option<String>,
    /// Answer with a text of the grammar in this file, in llguidance's dialect of Lark.
    #[arg(long, value_name = "FILE")]
    pub grammar: Option<PathBuf>,
    /// Answer with this text, or with one of several if it is given several times.
    #[arg(long, value_name = "TEXT")]
    pub choice: Vec<String>,
}

fn temperature(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if value >= 0.0 { Ok(value) } else { Err("must not be negative".into()) }
}

fn top_p(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    // A double that rounds to zero in float32 would be out of range again.
    if value > 0.0 && value <= 1.0 {
        Ok((value as f32).max(f32::MIN_POSITIVE))
    } else {
        Err("must be above 0 and at most 1".into())
    }
}

/// A number that float32 can hold.
fn number(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    if (value as f32).is_finite() { Ok(value) } else { Err("must be finite".into()) }
}
