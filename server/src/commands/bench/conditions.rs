//! The conditions of a measurement: model, machine and time.
//!
//! Named beside the figures.

use std::fs;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::BenchOptions;
use crate::config::{Config, ModelSource};
use crate::loading::Loaded;

/// The part of a line of figures that is the same at all batch sizes.
#[derive(Debug, Clone, Serialize)]
pub struct Subject<'a> {
    engine: String,
    shape: &'a str,
    device: String,
    source: usize,
    target: usize,
}

impl<'a> Subject<'a> {
    /// A model with the lengths that are measured.
    pub fn new(config: &'a Config, loaded: &Loaded, options: &BenchOptions) -> Self {
        Self {
            engine: format!("encdec-{}", loaded.arithmetic()),
            shape: model_name(config),
            device: loaded.device(),
            source: options.source_len.get(),
            target: options.target_len,
        }
    }
}

/// The measured model in one word: its shape, or the name that it is served under.
pub fn model_name(config: &Config) -> &str {
    match &config.model.source {
        ModelSource::Shape(name) => name,
        ModelSource::Demo | ModelSource::Checkpoint(_) | ModelSource::Hub(_) => &config.model.served_name,
    }
}

/// Name of the processor as the system gives it, or its architecture.
pub fn processor() -> String {
    let description = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    processor_name(&description).unwrap_or(std::env::consts::ARCH).to_owned()
}

/// Day and time now, in UTC.
pub fn now() -> String {
    in_words(Timestamp::now())
}

fn in_words(time: Timestamp) -> String {
    time.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

fn processor_name(description: &str) -> Option<&str> {
    let named = description.lines().find_map(|line| line.strip_prefix("model name"));
    named.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_system_names_it() {
        let description = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654\nstepping\t: 1\n";
        assert_eq!(processor_name(description), Some("AMD EPYC 9654"));
        assert_eq!(processor_name("model name\t:\n"), None);
        assert_eq!(processor_name("BogoMIPS\t: 243.75\n"), None);
        assert!(!processor().is_empty());
    }

    #[test]
    fn a_time_is_written_as_people_write_it() {
        assert_eq!(in_words("2026-03-04T05:06:07Z".parse().unwrap()), "4 March 2026, 05:06 UTC");
    }
}
