//! `server train`: runs a training as its settings describe it, and shows its progress.
//!
//! Called by `main`. `model` trains.

mod problems;
mod report;
pub mod settings;
mod stopping;
mod watcher;

use std::path::Path;
use std::sync::Arc;

use model::checkpoint::architecture_of;
use model::training::{self, Outcome, Settings};

use super::error::{CommandError, io};
use crate::cli::TrainOptions;
use crate::config::Config;
use crate::process::allocator::use_huge_pages;
use crate::process::resources::{check_command, cores};
use crate::process::terminal::show;
use stopping::Stopping;
use watcher::Watcher;

/// Trains, from the beginning or from where the run in the folder stopped, and prints where the model is.
///
/// # Errors
/// When the settings cannot be used, or the run fails.
pub fn train(config: &Config, options: &TrainOptions) -> Result<(), CommandError> {
    let settings = settings::read(&options.config, &config.hub)?;
    let threads = if settings.threads == 0 { cores() } else { settings.threads };
    check_command(threads + stopping::THREADS)?;
    use_huge_pages();
    let stopping = stopping::listen().map_err(io("wait for signals"))?;
    let message = run(&settings, stopping)?;
    show(&message);
    Ok(())
}

fn run(settings: &Settings, stopping: Arc<Stopping>) -> Result<String, CommandError> {
    let written = toml::to_string_pretty(settings).expect("settings are numbers, texts, lists and tables");
    let mut watcher = Watcher::new(&settings.out, written, Arc::clone(&stopping));
    let outcome = training::train(settings, &stopping.asked, &mut watcher);
    let (state, message) = match &outcome {
        Err(error) => (format!("ended by an error: {error}"), String::new()),
        Ok(Outcome::Stopped { checkpoint, steps }) => {
            let message = format!("{}: stopped; the same command goes on from here", checkpoint.display());
            (format!("stopped after step {steps}; the same command goes on"), message)
        }
        Ok(Outcome::Finished { model, steps, stopped_early }) => {
            let early = if *stopped_early { ", as validation got no better" } else { "" };
            let (next, model) = (next_command(model), model.display());
            let message = format!("{model}: trained for {steps} steps{early}\n{next}");
            (format!("finished after {steps} steps{early}"), message)
        }
    };
    watcher.finish(&state);
    outcome?;
    Ok(message)
}

/// Commands for a trained model of this architecture, one on each line.
fn next_command(model: &Path) -> String {
    let architecture = architecture_of(model);
    let model = model.display();
    match architecture {
        Ok(architecture) if architecture.classifies() => {
            format!("measure it: server eval --model {model} --data ROWS\nserve it: server --model {model}")
        }
        Ok(architecture) if architecture.has_encoder() => format!("serve it: server --model {model}"),
        _ => format!("make an encoder-decoder of it: server adapt --encoder {model} --decoder {model} --out FOLDER"),
    }
}
