//! The system's figures of this process, under the names that Prometheus' own clients use.
//!
//! Read from `/proc` whenever metrics are asked for; where there is none, these metrics are missing.

use std::fs::{read_dir, read_to_string};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

use crate::process::memory::kibibytes;

/// Units of processor time and of the start time in `/proc`, which are the same on every architecture of today.
const TICKS_PER_S: f64 = 100.0;

/// The process's metrics.
pub struct ProcessMetrics {
    cpu_seconds: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    resident_bytes: Gauge,
    start_seconds: Gauge,
    threads: Gauge,
    /// When the machine was started, in seconds since 1970.
    booted_seconds: Option<f64>,
}

impl ProcessMetrics {
    /// All at zero until they are collected.
    ///
    /// # Errors
    /// Never with the names of this file.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            cpu_seconds: Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?,
            open_fds: Gauge::new("process_open_fds", "Number of open file descriptors.")?,
            max_fds: Gauge::new("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_bytes: Gauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_bytes: Gauge::new("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            start_seconds: Gauge::new(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: Gauge::new("process_threads", "Number of OS threads in the process.")?,
            booted_seconds: read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)),
        })
    }

    fn read_stat(&self) -> Option<[&dyn Collector; 4]> {
        let stat = Stat::parse(&read_to_string("/proc/self/stat").ok()?)?;
        let cpu_seconds = stat.cpu_ticks / TICKS_PER_S;
        self.cpu_seconds.inc_by((cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.virtual_bytes.set(stat.virtual_bytes);
        self.threads.set(stat.threads);
        self.start_seconds.set(self.booted_seconds? + stat.start_ticks / TICKS_PER_S);
        Some([&self.cpu_seconds, &self.virtual_bytes, &self.threads, &self.start_seconds])
    }

    fn read_resident(&self) -> Option<[&dyn Collector; 1]> {
        self.resident_bytes.set(kibibytes(&read_to_string("/proc/self/status").ok()?, "VmRSS")? as f64 * 1024.0);
        Some([&self.resident_bytes])
    }

    fn read_fds(&self) -> Option<[&dyn Collector; 2]> {
        // The folder that is being read is open as well.
        self.open_fds.set(read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64);
        self.max_fds.set(max_fds(&read_to_string("/proc/self/limits").ok()?)?);
        Some([&self.open_fds, &self.max_fds])
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_seconds,
            &self.threads,
        ];
        gauges.into_iter().flat_map(Collector::desc).chain(self.cpu_seconds.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (stat, resident, fds) = (self.read_stat(), self.read_resident(), self.read_fds());
        let read = stat.into_iter().flatten().chain(resident.into_iter().flatten()).chain(fds.into_iter().flatten());
        read.flat_map(Collector::collect).collect()
    }
}

/// Contents of `/proc/self/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    /// From the machine's start to the process's.
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything. Behind it stands the third field.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
        })
    }
}

/// When the machine was started, out of `/proc/stat`.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The limit in force, out of `/proc/self/limits`.
fn max_fds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read_whatever_the_process_is_called() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 200 0 1 0 150 25 0 0 20 0 5 0 777 8192000 300 18446744073709551615";
        let expected = Stat { cpu_ticks: 175.0, threads: 5.0, start_ticks: 777.0, virtual_bytes: 8_192_000.0 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
        assert_eq!(boot_time("cpu  1 2 3\nbtime 1700000000\nprocesses 9\n"), Some(1_700_000_000.0));
        let limits = "Limit Soft Limit Hard Limit Units\n\
            Max open files            1024                 4096                 files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(max_fds("Max open files   unlimited  unlimited  files"), Some(f64::INFINITY));
    }

    #[test]
    fn a_process_finds_itself() {
        let metrics = ProcessMetrics::new().unwrap();
        let values: Vec<(String, f64)> = metrics
            .collect()
            .iter()
            .map(|family| {
                let metric = &family.get_metric()[0];
                let (counter, gauge) = (metric.get_counter().get_value(), metric.get_gauge().get_value());
                (family.name().to_owned(), counter.max(gauge))
            })
            .collect();
        assert_eq!(values.len(), metrics.desc().len());
        let value = |name: &str| values.iter().find(|(found, _)| found == name).unwrap().1;
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 1.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..3600.0).contains(&(now - value("process_start_time_seconds") + 2.0)), "{values:?} at {now}");
    }
}
