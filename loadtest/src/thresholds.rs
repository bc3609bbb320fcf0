//! Limits of a run's figures, by which programs judge it.

use std::collections::BTreeMap;

use crate::error::LoadtestError;
use crate::measurement::{Figures, keys};

/// A limit of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    key: String,
    comparison: Comparison,
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
}

/// Longer signs first, so that `<=` is not read as `<`.
const SIGNS: [(&str, Comparison); 4] =
    [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Below), (">", Comparison::Above)];

impl Threshold {
    /// Reads `p99_ttft_ms<=200`.
    ///
    /// # Errors
    /// A text that is none, or a figure that is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("{text} is no limit: write it as p99_ttft_ms<=200, with <=, <, >= or >");
        let found = SIGNS.iter().find_map(|(sign, comparison)| Some((text.split_once(sign)?, *comparison)));
        let ((key, limit), comparison) = found.ok_or_else(form)?;
        let limit: f64 = limit.trim().parse().map_err(|_| form())?;
        let key = key.trim().to_owned();
        let known = keys();
        if !known.contains(&key) {
            return Err(format!("{key} is no figure: the figures are {}", known.join(", ")));
        }
        if !limit.is_finite() {
            return Err(form());
        }
        Ok(Self { key, comparison, limit })
    }

    /// The limits of a scenario file, and those of `--limit`.
    ///
    /// # Errors
    /// A limit that is none.
    pub fn all(of_file: &BTreeMap<String, String>, of_flags: &[String]) -> Result<Vec<Self>, LoadtestError> {
        let of_file = of_file.iter().map(|(key, limit)| format!("{key} {limit}"));
        let all = of_file.chain(of_flags.iter().cloned());
        all.map(|text| Self::parse(&text).map_err(|fault| LoadtestError::Flag { flag: "limit", fault })).collect()
    }

    fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::AtMost => value <= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Above => value > self.limit,
        }
    }

    fn sign(&self) -> &'static str {
        SIGNS.iter().find(|(_, comparison)| *comparison == self.comparison).map_or("", |(sign, _)| sign)
    }
}

/// Everything that a run misses, each in a sentence; nothing when it is good. Without a limit of `failed`, every answer
/// has to be whole; and some answer has to be whole unless every client left on purpose.
pub fn misses(figures: &Figures, thresholds: &[Threshold]) -> Vec<String> {
    let mut misses = Vec::new();
    let counts = figures.counts;
    if counts.failed > 0 && !thresholds.iter().any(|threshold| threshold.key == "failed") {
        misses.push(format!("{} of {} answers were not whole", counts.failed, counts.ended));
    }
    if counts.completed == 0 && counts.left == 0 {
        misses.push("no answer was whole".to_owned());
    }
    for threshold in thresholds {
        let value = figures.value(&threshold.key).unwrap_or_default();
        let spread = figures.spreads().into_iter().find(|(name, _)| threshold.key.ends_with(&format!("_{name}_ms")));
        if spread.is_some_and(|(_, spread)| spread.count() == 0) {
            misses.push(format!("{} has no sample, so its limit says nothing", threshold.key));
        } else if !threshold.holds(value) {
            misses.push(format!("{} is {value:.3}, not {} {}", threshold.key, threshold.sign(), threshold.limit));
        }
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Recorder;

    fn figures(completed: u64, failed: u64) -> Figures {
        let mut figures = Recorder::default().figures();
        figures.counts.completed = completed;
        figures.counts.failed = failed;
        figures.counts.ended = completed + failed;
        figures
    }

    #[test]
    fn a_limit_holds_on_its_side() {
        let misses = |text: &str| misses(&figures(5, 0), &[Threshold::parse(text).unwrap()]).len();
        assert_eq!(["completed<=5", "completed < 5", "completed>=5", "completed > 5"].map(misses), [0, 1, 0, 1]);
    }

    #[test]
    fn every_answer_has_to_be_whole_unless_a_limit_says_otherwise() {
        assert_eq!(misses(&figures(5, 1), &[]).len(), 1);
        assert_eq!(misses(&figures(5, 1), &[Threshold::parse("failed<=1").unwrap()]), Vec::<String>::new());
        assert_eq!(misses(&figures(0, 0), &[]), ["no answer was whole"]);
    }

    #[test]
    fn a_limit_of_times_that_nobody_took_does_not_hold() {
        let misses = |text: &str| misses(&figures(5, 0), &[Threshold::parse(text).unwrap()]);
        assert_eq!(misses("p99_ttft_ms<=200"), ["p99_ttft_ms has no sample, so its limit says nothing"]);
        assert_eq!(misses("mean_send_lag_ms<=9").len(), 1);
    }

    #[test]
    fn a_limit_of_no_figure_is_refused() {
        assert!(Threshold::parse("p98_ttft_ms<=2").unwrap_err().contains("p99_ttft_ms"));
        for text in ["p99_ttft_ms", "p99_ttft_ms<=fast", "p99_ttft_ms=2", "p99_ttft_ms<=nan"] {
            assert!(Threshold::parse(text).unwrap_err().contains("write it as"), "{text}");
        }
    }
}
