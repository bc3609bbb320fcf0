//! `server bench --profile`: the time of an encoder run and of a decode step, op by op, against the time that the
//! memory takes for the same bytes.
//!
//! Requests go through the engine as in the plain bench, on a backend that measures every op.

use std::sync::Arc;
use std::time::Duration;

use kernels::profiled::{Cost, Op, Profile};

use super::conditions::model_name;
use super::driver::{Driver, room_for};
use super::print::print;
use super::table::{aligned, widths};
use super::watched::{BatchCosts, Costs, Phase, Watched};
use crate::cli::BenchOptions;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::load_profiled;

const COLUMNS: [&str; 7] = ["op", "calls", "ms", "of time", "MB", "GB/s", "floor over time"];

/// Prints two tables for each batch size: the encoder's, for all sources of the batch, and a decode step's.
///
/// # Errors
/// When the model cannot be loaded, or the lengths exceed it.
pub fn profile(config: &Config, options: &BenchOptions) -> Result<(), CommandError> {
    let profile = Profile::default();
    let loaded = load_profiled(config, &profile)?;
    let limits = room_for(options, loaded.limits(config)?)?;
    let read_bytes_per_s = loaded.memory_bytes_per_s()?;
    let vocab = loaded.config().encoder.vocab;
    let about = format!(
        "{}, {}, {}; the memory gives {:.1} GB/s",
        model_name(config),
        loaded.arithmetic(),
        loaded.device(),
        read_bytes_per_s / 1e9
    );
    print(&about)?;
    let costs = Costs::default();
    let watch = |inner| Box::new(Watched::new(inner, profile, costs.clone())) as Box<_>;
    let engine = loaded.start_with(limits, Arc::default(), watch)?;
    let mut driver = Driver::start(engine, options, vocab)?;
    for batch in options.batches() {
        // Not measured: memory that no batch of this size has touched yet is slower.
        driver.run(batch, 2)?;
        costs.begin(batch);
        driver.run(batch, options.target_len)?;
        let BatchCosts { encoder, decoder, .. } = costs.take();
        let source_tokens = batch * options.source_len.get();
        print_table(&format!("encoder, batch {batch}: {source_tokens} source tokens"), &encoder, 1, read_bytes_per_s)?;
        let title = format!("decode step, batch {batch}");
        match decoder.runs {
            0 => print(&format!("\n{title}: no step had all rows: raise --target"))?,
            steps => print_table(&format!("{title}: mean of {steps} steps"), &decoder, steps, read_bytes_per_s)?,
        }
    }
    driver.end();
    Ok(())
}

fn print_table(title: &str, phase: &Phase, runs: u32, read_bytes_per_s: f64) -> Result<(), CommandError> {
    print(&format!("\n{title}"))?;
    let lines = lines(phase, runs, read_bytes_per_s);
    let widths = widths(&lines);
    lines.iter().try_for_each(|line| print(&aligned(line, &widths)))
}

/// Header, ops from the one that takes longest, their sum, the time outside them, and the whole. Figures are sums over
/// `phase` divided by `runs`.
fn lines(phase: &Phase, runs: u32, read_bytes_per_s: f64) -> Vec<Vec<String>> {
    let whole_ms = milliseconds(phase.whole, runs);
    let share = |ms: f64| format!("{:.1} %", 100.0 * ms / whole_ms);
    let line = |name: String, cost: &Cost| {
        let ms = milliseconds(cost.time, runs);
        let bytes = cost.bytes as f64 / f64::from(runs);
        let floor_ms = bytes / read_bytes_per_s * 1e3;
        vec![
            name,
            (cost.calls as f64 / f64::from(runs)).round().to_string(),
            format!("{ms:.3}"),
            share(ms),
            format!("{:.2}", bytes / 1e6),
            format!("{:.1}", bytes / ms / 1e6),
            format!("{:.0} %", 100.0 * floor_ms / ms),
        ]
    };
    // An op without bytes ran on no rows, such as scores that no request asked for.
    let mut ops: Vec<_> = phase.costs.iter().filter(|(_, cost)| cost.bytes > 0).collect();
    ops.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.time));
    let sum = ops.iter().fold(Cost::default(), |sum, (_, cost)| sum + **cost);
    let outside_ms = whole_ms - milliseconds(sum.time, runs);
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    lines.extend(ops.into_iter().map(|(op, cost)| line(op_name(op), cost)));
    lines.push(line("sum".into(), &sum));
    lines.push(vec!["outside the ops".into(), String::new(), format!("{outside_ms:.3}"), share(outside_ms)]);
    lines.push(line("whole".into(), &Cost { time: phase.whole, ..sum }));
    lines
}

fn op_name(op: &Op) -> String {
    let matrix = op.matrix.map(|(inputs, outputs)| format!(" {inputs} x {outputs}"));
    let kernel = op.kernel.map(|kernel| format!(": {kernel}"));
    [op.name, &matrix.unwrap_or_default(), &kernel.unwrap_or_default()].concat()
}

fn milliseconds(time: Duration, runs: u32) -> f64 {
    time.as_secs_f64() * 1e3 / f64::from(runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn ops_are_listed_from_the_longest_with_their_sum_and_the_rest() {
        let mut phase = Phase::default();
        let cost = |calls, ms, bytes| Cost { calls, time: Duration::from_millis(ms), bytes };
        let linear = Op { matrix: Some((512, 1536)), ..Op::of("linear") };
        let rope = Op { kernel: Some("rope_pages"), ..Op::of("rope") };
        for _ in 0..2 {
            let costs = BTreeMap::from([(linear, cost(8, 6, 60_000_000)), (rope, cost(4, 2, 1_000_000))]);
            phase.add(Duration::from_millis(10), costs);
        }
        let lines = lines(&phase, 2, 20e9);
        assert_eq!(lines[0], COLUMNS);
        assert_eq!(lines[1], ["linear 512 x 1536", "8", "6.000", "60.0 %", "60.00", "10.0", "50 %"]);
        assert_eq!(lines[2][..4], ["rope: rope_pages", "4", "2.000", "20.0 %"]);
        assert_eq!(lines[3], ["sum", "12", "8.000", "80.0 %", "61.00", "7.6", "38 %"]);
        assert_eq!(lines[4], ["outside the ops", "", "2.000", "20.0 %"]);
        assert_eq!(lines[5], ["whole", "12", "10.000", "100.0 %", "61.00", "6.1", "30 %"]);
    }
}
