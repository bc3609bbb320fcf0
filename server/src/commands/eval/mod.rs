//! `server eval`: how well a checkpoint answers the rows of a file.
//!
//! Called by `main`. Rows become questions of token ids, a subject answers them, and figures count the answers.
//! Checkpoints that can be served answer through the same engine as HTTP requests do.

mod answer;
mod class_scores;
mod classified;
pub mod error;
mod figures;
mod input_spec;
mod open;
mod predictions;
mod question;
mod rows;
mod served;
mod subject;
mod trained;
mod unanswered;
mod warnings;

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant;

use self::answer::{Answer, Ask};
use self::error::EvalError;
use self::figures::{EvalFigures, Measured};
use self::predictions::{Prediction, Predictions};
use self::question::Questions;
use self::rows::{RowObjective, Rows};
use self::unanswered::Unanswered;
use super::error::{CommandError, io};
use crate::cli::{EvalOptions, Metric};
use crate::config::Config;
use crate::process::progress::RowProgress;
use crate::process::resources::{ENGINE_THREADS, check_command};

/// Reads the rows, has them answered, and prints the figures.
///
/// # Errors
/// When a row is malformed, the checkpoint cannot answer such rows or has no finite scores for one, or a file cannot be
/// read or written.
pub fn eval(config: &Config, options: &EvalOptions) -> Result<(), CommandError> {
    check_command(config.model.threads + ENGINE_THREADS)?;
    let began = Instant::now();
    let rows = Rows::read(&options.data, options.objective, options.limit)?;
    let metrics = metrics(options, rows.objective)?;
    let mut predictions = options.out.as_deref().map(Predictions::create).transpose()?;
    // A file that takes no more costs no figure.
    let mut lost = Ok(());
    let opened = || open::open(config);
    let (subject, warnings) = if options.json { warnings::collected(opened) } else { (opened(), Vec::new()) };
    let mut subject = subject?;
    subject.check(rows.objective)?;
    let spec = subject.input_spec();
    let tokenizer = Arc::clone(&spec.tokenizer);
    let mut questions = Questions::new(spec, &rows, options)?;
    let mut measured = Measured::new(&metrics);
    let mut unanswered = Unanswered::default();
    let ask =
        Ask { scores: metrics.contains(&Metric::Loss), max_tokens: writes(&metrics).then_some(options.max_tokens) };

    let progress = RowProgress::new("evaluating", rows.rows.len() as u64);
    subject.answer(&mut questions, ask, &mut |index, outcome| {
        let row = &rows.rows[index];
        progress.advance();
        let answer = match outcome.and_then(Answer::counted) {
            Ok(answer) => answer,
            Err(problem) => {
                unanswered.add(row.line, problem);
                return Ok(());
            }
        };
        let wanted = row.wanted(&tokenizer);
        measured.add(&wanted, &answer);
        let Some(file) = &mut predictions else { return Ok(()) };
        let prediction = Prediction { line: row.line, input: &row.input(&tokenizer), wanted: &wanted, answer: &answer };
        if let Err(error) = file.write(prediction) {
            (predictions, lost) = (None, Err(error));
        }
        Ok(())
    })?;
    drop(progress);

    unanswered.check(&options.data, rows.rows.len())?;
    let written = lost.and(predictions.map_or(Ok(()), Predictions::finish));
    let figures = EvalFigures {
        model: config.model.served_name.clone(),
        architecture: subject.architecture().to_string(),
        arithmetic: subject.arithmetic(),
        data: options.data.display().to_string(),
        objective: rows.objective.name(),
        rows: rows.rows.len(),
        cut_sources: questions.cut_sources(),
        cut_targets: questions.cut_targets(),
        warnings,
        measured: measured.scores(),
        seconds: began.elapsed().as_secs_f64(),
    };
    subject.end();
    let text = if options.json { figures.json() } else { figures.table() };
    writeln!(stdout(), "{text}").map_err(io("print the figures"))?;
    written.map_err(CommandError::from)
}

/// The figures that are asked for, or all figures of the objective.
fn metrics(options: &EvalOptions, objective: RowObjective) -> Result<Vec<Metric>, EvalError> {
    let all = objective.metrics();
    match options.metrics.iter().find(|metric| !all.contains(metric)) {
        Some(&metric) => Err(EvalError::NotMeasured { metric, objective: objective.name() }),
        None if options.metrics.is_empty() => Ok(all.to_vec()),
        None => Ok(options.metrics.clone()),
    }
}

/// Whether one of the figures needs the written text.
fn writes(metrics: &[Metric]) -> bool {
    metrics.iter().any(|metric| *metric != Metric::Loss)
}
