//! The lines that the log had to drop, as a metric.
//!
//! Read from the log whenever metrics are asked for.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Opts};

use crate::process::log;

/// Counts what [`log::dropped_lines`] tells.
pub struct LogLines {
    dropped: IntCounter,
}

impl LogLines {
    /// Begins at zero.
    ///
    /// # Errors
    /// Never with the name of this file.
    pub fn new() -> prometheus::Result<Self> {
        let help = "Lines of the log that could not be written.";
        Ok(Self { dropped: IntCounter::with_opts(Opts::new("encdec_log_lines_dropped_total", help))? })
    }
}

impl Collector for LogLines {
    fn desc(&self) -> Vec<&Desc> {
        self.dropped.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Set anew, as two who ask at once would each add the same.
        self.dropped.reset();
        self.dropped.inc_by(log::dropped_lines());
        self.dropped.collect()
    }
}
