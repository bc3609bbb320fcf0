//! `server bench --sweep`: every arithmetic at every batch size, one model after the other.
//!
//! Prints its table line by line, then hands the whole to the report.

use super::measure::{Bench, Figures};
use super::report::{Report, Run};
use super::table::aligned;
use super::variant::Variant;
use super::{machine, model_name, print};
use crate::cli::BenchOptions;
use crate::commands::CommandError;
use crate::config::Config;

/// Names of the table's columns.
pub const COLUMNS: [&str; 7] =
    ["precision", "batch", "encode_ms", "step_ms", "floor_ms", "step over floor", "tokens/s"];

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the arithmetic.
    pub precision: &'static str,
    /// What was measured.
    pub figures: Figures,
}

impl Row {
    /// What stands in the table's columns.
    pub fn cells(&self) -> Vec<String> {
        let Figures { batch, encode_ms, step_ms, floor_ms, tokens_per_s, .. } = &self.figures;
        let mut cells = vec![self.precision.to_owned(), batch.to_string()];
        cells.extend([encode_ms, step_ms, floor_ms].map(|time| short(*time)));
        cells.extend([format!("{:.2}", step_ms / floor_ms), short(*tokens_per_s)]);
        cells
    }
}

/// Measures, prints and writes the report.
///
/// # Errors
/// As [`super::bench`].
pub fn sweep(config: &Config, options: &BenchOptions, command_line: &str) -> Result<(), CommandError> {
    let report = Report::open(options.report.as_deref())?;
    let widths = COLUMNS.map(str::len);
    print(&aligned(&COLUMNS.map(str::to_owned), &widths))?;
    let (mut rows, mut instruction_set) = (Vec::new(), "");
    for variant in Variant::ALL {
        let mut config = config.clone();
        variant.choose(&mut config.model);
        let mut bench = Bench::start(&config, options)?;
        instruction_set = bench.instruction_set();
        for batch in options.batches() {
            let row = Row { precision: variant.name, figures: bench.measure(batch)? };
            print(&aligned(&row.cells(), &widths))?;
            rows.push(row);
        }
        bench.end();
    }
    let run = Run {
        command_line,
        time: machine::now(),
        processor: machine::processor(),
        instruction_set,
        threads: config.model.threads,
        model: model_name(config),
        source_len: options.source_len.get(),
        target_len: options.target_len,
        rows: &rows,
    };
    let written = report.write(&run)?;
    print(&format!("written to {written}"))
}

/// Three significant digits or all before the point: what a repeated measurement may confirm.
fn short(value: f64) -> String {
    match value {
        ..0.0995 => format!("{value:.3}"),
        ..9.95 => format!("{value:.2}"),
        ..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0871, 1.234, 9.949, 9.96, 45.67, 99.6, 1744.4].map(short);
        assert_eq!(texts, ["0.087", "1.23", "9.95", "10.0", "45.7", "100", "1744"]);
    }
}
