//! The comparison of two runs by their JSON.

use std::fmt::Write;

use serde_json::Value;

use crate::measurement::{KeyedFigure, keys};

/// Figures of a run, read from its JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFigures(Vec<KeyedFigure>);

impl RunFigures {
    /// The figures of a file that `--json` or `vllm bench serve` has written; unknown keys are left out.
    pub fn of_json(value: &Value) -> Self {
        let figure = |key: String| Some(KeyedFigure { value: value.get(&key)?.as_f64()?, key });
        Self(keys().into_iter().filter_map(figure).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: String,
    before: f64,
    after: f64,
}

impl Row {
    /// Change in percent; none where there was nothing before.
    fn change(&self) -> Option<f64> {
        (self.before != 0.0).then(|| (self.after / self.before - 1.0) * 100.0)
    }

    /// Percent by which the figure became worse; none where no direction is worse.
    fn worse(&self) -> Option<f64> {
        let change = self.change()?;
        let is_throughput = self.key.ends_with("throughput") || self.key == "request_goodput";
        let is_latency = (self.key.starts_with("median_") || self.key.starts_with("p99_"))
            && self.key.ends_with("_ms")
            && !self.key.contains("send_lag");
        if is_throughput { Some(-change) } else { is_latency.then_some(change) }
    }
}

impl Comparison {
    /// Compares the figures that both runs have.
    pub fn new(before: &RunFigures, after: &RunFigures) -> Self {
        let row = |figure: &KeyedFigure| {
            let after = after.0.iter().find(|other| other.key == figure.key)?.value;
            Some(Row { key: figure.key.clone(), before: figure.value, after })
        };
        Self { rows: before.0.iter().filter_map(row).collect() }
    }

    /// A line for each figure.
    pub fn text(&self) -> String {
        let mut text = format!("{:<26} {:>14} {:>14} {:>10}\n", "", "before", "after", "change");
        for row in &self.rows {
            let change = row.change().map_or_else(String::new, |percent| format!("{percent:+.1} %"));
            writeln!(text, "{:<26} {:>14.3} {:>14.3} {change:>10}", row.key, row.before, row.after)
                .expect("a string takes all");
        }
        text
    }

    /// Throughputs that are lower, and medians and p99 of latencies that are higher, by more than `percent`.
    pub fn worse_by(&self, percent: f64) -> Vec<String> {
        let worse = self.rows.iter().filter(|row| row.worse().is_some_and(|worse| worse > percent));
        worse.map(|row| format!("{}: {:.3} before, {:.3} after", row.key, row.before, row.after)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn less_throughput_and_more_latency_are_worse() {
        let before = json!({"request_throughput": 10.0, "p99_ttft_ms": 20.0, "mean_ttft_ms": 9.0, "completed": 5});
        let after = json!({"request_throughput": 8.0, "p99_ttft_ms": 30.0, "mean_ttft_ms": 99.0, "completed": 1});
        let [before, after] = [before, after].map(|value| RunFigures::of_json(&value));
        let comparison = Comparison::new(&before, &after);
        let worse = |percent| comparison.worse_by(percent).len();
        assert_eq!([worse(10.0), worse(30.0), worse(60.0)], [2, 1, 0]);
        assert!(Comparison::new(&after, &before).worse_by(0.0).is_empty());
        assert!(comparison.text().contains("+50.0 %"), "{}", comparison.text());
    }
}
