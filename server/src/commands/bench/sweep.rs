//! `server bench --sweep`: every arithmetic at every batch size, one model after the other.
//!
//! Prints its table line by line, then writes all of it to the report.

use super::conditions::{model_name, now, processor};
use super::measure::Bench;
use super::report::{SweepReport, SweepRun};
use super::row::{COLUMNS, SweepRow};
use super::table::aligned;
use super::variant::Variant;
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::{Config, Device};
use crate::loading::LoadError;
use crate::process::terminal::show;

/// Measures, prints and writes the report. After a failure the report holds the rows that were measured before.
///
/// # Errors
/// When the report cannot be written, a model cannot be loaded, or the lengths exceed it.
pub fn sweep(config: &Config, options: &BenchOptions, command_line: &str) -> Result<(), CommandError> {
    let report = SweepReport::open(options.report.as_deref())?;
    show(&printed(&COLUMNS.map(str::to_owned)));
    let mut table = Table::default();
    let measured = Variant::ALL.into_iter().try_for_each(|variant| table.measure(variant, config, options));
    let Table { rows, instruction_set } = table;
    let run = SweepRun {
        command_line,
        time: now(),
        processor: processor(),
        instruction_set,
        threads: config.model.threads,
        model: model_name(config),
        source_len: options.source_len.get(),
        target_len: options.target_len,
        rows: &rows,
    };
    conclude(measured, &run, |run| report.write(run).map(|names| show(&format!("written to {names}"))))
}

/// Writes the rows, if there are any, and returns the first failure.
fn conclude(
    measured: Result<(), CommandError>,
    run: &SweepRun<'_>,
    write: impl FnOnce(&SweepRun<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if run.rows.is_empty() {
        return measured;
    }
    let written = write(run);
    measured.and(written)
}

/// The rows so far.
#[derive(Default)]
struct Table {
    rows: Vec<SweepRow>,
    instruction_set: &'static str,
}

impl Table {
    /// Measures and prints the rows of one arithmetic.
    fn measure(&mut self, variant: Variant, config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
        let mut config = config.clone();
        variant.choose(&mut config.model);
        // One device for all rows: the processor has every arithmetic, a GPU only some.
        if config.model.device == Device::Auto {
            config.model.device = Device::Cpu;
        }
        let mut bench = Bench::start(&config, options).map_err(for_sweep)?;
        self.instruction_set = bench.instruction_set();
        for batch in options.batches() {
            let figures = bench.measure(batch)?;
            let row = SweepRow { precision: variant.name, cross_kv: bench.cross_kv(), figures };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::figures::BenchFigures;

    #[test]
    fn a_failure_is_told_after_the_rows_before_it_are_written() {
        let rows = [SweepRow { precision: "bf16", cross_kv: "int8", figures: BenchFigures::default() }];
        for (rows, measured_any) in [(&rows[..0], false), (&rows, true)] {
            let run = SweepRun {
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
}
