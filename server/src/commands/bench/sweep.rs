//! `server bench --sweep`: every arithmetic at every batch size, one model after the other.
//!
//! Prints its table line by line, then hands the whole to the report.

use super::measure::{Bench, Figures};
use super::report::{Report, Run};
use super::table::aligned;
use super::variant::Variant;
use super::{machine, model_name};
use crate::cli::BenchOptions;
use crate::commands::CommandError;
use crate::config::{Config, Device};
use crate::loading::LoadError;
use crate::process::terminal::show;

/// Names of the table's columns.
pub const COLUMNS: [&str; 7] =
    ["precision", "batch", "encode_ms", "step_ms", "floor_ms", "step over floor", "tokens/s"];

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the arithmetic.
    pub precision: &'static str,
    /// Name of the format that the sources' keys and values are kept in.
    pub cross_kv: &'static str,
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

/// Measures, prints and writes the report; of what was measured before a failure as well.
///
/// # Errors
/// As [`super::bench`].
pub fn sweep(config: &Config, options: &BenchOptions, command_line: &str) -> Result<(), CommandError> {
    let report = Report::open(options.report.as_deref())?;
    show(&printed(&COLUMNS.map(str::to_owned)));
    let mut table = Table::default();
    let measured = Variant::ALL.into_iter().try_for_each(|variant| table.measure(variant, config, options));
    let Table { rows, instruction_set } = table;
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
    conclude(measured, &run, |run| report.write(run).map(|names| show(&format!("written to {names}"))))
}

/// Writes what was measured, if anything was, and tells what failed first.
fn conclude(
    measured: Result<(), CommandError>,
    run: &Run<'_>,
    write: impl FnOnce(&Run<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if run.rows.is_empty() {
        return measured;
    }
    let written = write(run);
    measured.and(written)
}

/// What has been measured.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    instruction_set: &'static str,
}

impl Table {
    /// Measures and prints the rows of one arithmetic.
    fn measure(&mut self, variant: Variant, config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
        let mut config = config.clone();
        variant.choose(&mut config.model);
        // All on one device: the processor has every arithmetic, a GPU only some.
        if config.model.device == Device::Auto {
            config.model.device = Device::Cpu;
        }
        let mut bench = Bench::start(&config, options).map_err(for_sweep)?;
        self.instruction_set = bench.instruction_set();
        for batch in options.batches() {
            let figures = bench.measure(batch)?;
            let row = Row { precision: variant.name, cross_kv: bench.cross_kv(), figures };
            show(&printed(&row.cells()));
            self.rows.push(row);
        }
        bench.end();
        Ok(())
    }
}

/// A sweep names schemes itself: advice about flags that it does not take would lead nowhere.
fn for_sweep(error: CommandError) -> CommandError {
    match error {
        CommandError::Load(LoadError::Quantized { origin, scheme }) => CommandError::QuantizedSweep { origin, scheme },
        other => other,
    }
}

/// A line in columns as wide as their names.
fn printed(cells: &[String]) -> String {
    aligned(cells, &COLUMNS.map(str::len))
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
    fn a_failure_is_told_after_the_rows_before_it_are_written() {
        let figures = Figures {
            batch: 1,
            encode_ms: 1.0,
            step_ms: 1.0,
            decode_tokens_per_s: 1.0,
            tokens_per_s: 1.0,
            encoder_operations: 1,
            step_bytes: 1,
            read_bytes_per_s: 1.0,
            floor_ms: 1.0,
        };
        let rows = [Row { precision: "bf16", cross_kv: "int8", figures }];
        for (rows, measured_any) in [(&rows[..0], false), (&rows, true)] {
            let run = Run {
                command_line: "",
                time: String::new(),
                processor: String::new(),
                instruction_set: "",
                threads: 1,
                model: "",
                source_len: 1,
                target_len: 2,
                rows,
            };
            let mut is_written = false;
            let failure = CommandError::Failed { message: "no memory".into() };
            let result = conclude(Err(failure), &run, |_| {
                is_written = true;
                Ok(())
            });
            assert_eq!(is_written, measured_any);
            assert!(result.unwrap_err().to_string().contains("no memory"));
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0871, 1.234, 9.949, 9.96, 45.67, 99.6, 1744.4].map(short);
        assert_eq!(texts, ["0.087", "1.23", "9.95", "10.0", "45.7", "100", "1744"]);
    }
}
