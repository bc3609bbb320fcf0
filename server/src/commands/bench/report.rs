//! The report of a sweep: a section of a Markdown file between two markers, and a chart beside it.
//!
//! Used by the sweep. The page outside the markers is never touched.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::OutFile;

use super::plot;
use super::row::{COLUMNS, SweepRow};
use super::table::piped;
use crate::commands::error::CommandError;

const BEGIN: &str = "<!-- sweep:begin -->";
const END: &str = "<!-- sweep:end -->";
/// The chart's file, in the report's folder.
const CHART: &str = "step-time.svg";
/// Bytes that a page or a chart may have.
const REPORT_BYTES: usize = 64 << 10;
/// Page of a report without `--report`, if there is such a page here.
const USUAL_PAGE: &str = "docs/benchmarks.md";
/// Page of a report otherwise.
const NEW_PAGE: &str = "benchmarks.md";

/// A finished sweep, for the report.
#[derive(Debug)]
pub struct SweepRun<'a> {
    /// How the process was started.
    pub command_line: &'a str,
    /// When it ended.
    pub time: String,
    /// Name of the processor.
    pub processor: String,
    /// Name of the instructions that the kernels used.
    pub instruction_set: &'a str,
    /// Threads of the model.
    pub threads: usize,
    /// Shape or name of the model.
    pub model: &'a str,
    /// Tokens of each source.
    pub source_len: usize,
    /// Tokens generated from each source.
    pub target_len: usize,
    /// Lines of the table.
    pub rows: &'a [SweepRow],
}

/// A page that can be written.
#[derive(Debug)]
pub struct SweepReport {
    page: PathBuf,
}

impl SweepReport {
    /// Checks before hours of measuring that page and chart can be written; leaves no file behind.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn open(named: Option<&Path>) -> Result<Self, CommandError> {
        let usual = || if Path::new(USUAL_PAGE).exists() { USUAL_PAGE } else { NEW_PAGE };
        let page = named.map_or_else(|| usual().into(), Path::to_owned);
        let report = Self { page };
        for file in [&report.page, &report.chart()] {
            try_place(file).map_err(refused(file))?;
        }
        report.text()?;
        Ok(report)
    }

    /// Replaces the page's section and the chart; returns the names of both files.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, run: &SweepRun<'_>) -> Result<String, CommandError> {
        let chart = self.chart();
        OutFile::replace(&chart, plot::step_time(run.rows)?.as_bytes()).map_err(refused(&chart))?;
        let page = with_section(&self.text()?, &section(run));
        OutFile::replace(&self.page, page.as_bytes()).map_err(refused(&self.page))?;
        Ok(format!("{} and {}", self.page.display(), chart.display()))
    }

    fn chart(&self) -> PathBuf {
        self.page.with_file_name(CHART)
    }

    /// Contents of the page; empty if there is none yet.
    fn text(&self) -> Result<String, CommandError> {
        match fs::read_to_string(&self.page) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(refused(&self.page)),
        }
    }
}

/// Tries whether a report can be written, and leaves nothing behind.
fn try_place(path: &Path) -> io::Result<()> {
    let mut file = OutFile::create(path)?;
    file.write_all(&[b' '; REPORT_BYTES])?;
    file.flush()
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> CommandError {
    let path = path.to_owned();
    move |source| CommandError::Report { path, source }
}

/// The page with `section` between its markers; a page without a pair of markers gets both at its end.
fn with_section(page: &str, section: &str) -> String {
    let marked = format!("{BEGIN}\n\n{}\n\n{END}", section.trim());
    // The last begin before an end: a lone marker elsewhere must not swallow the text after it.
    let pair = page.match_indices(END).find_map(|(end, _)| Some((page[..end].rfind(BEGIN)?, end + END.len())));
    match pair {
        Some((begin, end)) => format!("{}{marked}{}", &page[..begin], &page[end..]),
        None if page.trim().is_empty() => format!("{marked}\n"),
        None => format!("{}\n\n{marked}\n", page.trim_end()),
    }
}

fn section(run: &SweepRun<'_>) -> String {
    let SweepRun { time, processor, instruction_set, threads, model, source_len, target_len, rows, .. } = run;
    let threads = format!("{threads} thread{}", if *threads == 1 { "" } else { "s" });
    let header = [piped(&COLUMNS.map(str::to_owned)), format!("|{}", "---|".repeat(COLUMNS.len()))];
    let table: Vec<String> = header.into_iter().chain(rows.iter().map(|row| piped(&row.cells()))).collect();
    format!(
        "{time}; {processor} ({instruction_set}), {threads}.\n\
         The memory read {} GB/s, measured before and after each batch.\n\
         Model {model}, source {source_len} tokens, target {target_len}.\n\
         The sources' keys and values (cross_kv) were in {}.\n\n    {}\n\n{}\n\n\
         ![Time of a decode step against batch size, with each precision's floor]({CHART})",
        memory_speed(rows),
        kept(rows),
        run.command_line,
        table.join("\n"),
    )
}

/// Slowest and fastest speed of the memory, in GB/s.
fn memory_speed(rows: &[SweepRow]) -> String {
    let speeds = || rows.iter().map(|row| row.figures.read_bytes_per_s / 1e9);
    let (least, most) = (speeds().fold(f64::INFINITY, f64::min), speeds().fold(0.0, f64::max));
    let [least, most] = [least, most].map(|speed| format!("{speed:.1}"));
    if least == most { least } else { format!("{least} to {most}") }
}

/// Formats of the sources' keys and values, each with its precisions.
fn kept(rows: &[SweepRow]) -> String {
    let formats = rows.chunk_by(|one, next| one.cross_kv == next.cross_kv).map(|alike| {
        let precisions = alike.chunk_by(|one, next| one.precision == next.precision).filter_map(<[SweepRow]>::first);
        let names: Vec<&str> = precisions.map(|row| row.precision).collect();
        format!("{} beside {}", alike.first().map_or("", |row| row.cross_kv), names.join(", "))
    });
    formats.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::figures::BenchFigures;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = format!("# Page\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n");
        let expected = format!("# Page\n\nbefore\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n");
        assert_eq!(with_section(&page, "new\n"), expected);
        assert_eq!(with_section(&expected, "new"), expected, "once more changes nothing");
    }

    #[test]
    fn a_page_without_markers_gets_the_section_at_its_end() {
        let marked = format!("{BEGIN}\n\nnew\n\n{END}\n");
        assert_eq!(with_section("# Page\n", "new"), format!("# Page\n\n{marked}"));
        assert_eq!(with_section("", "new"), marked);
    }

    #[test]
    fn a_lone_marker_swallows_nothing() {
        for page in [format!("{BEGIN}\nkept\n"), format!("{END}\nkept\n"), format!("{END}\nkept\n{BEGIN}\nkept too\n")]
        {
            let once = with_section(&page, "new");
            assert!(once.starts_with(&page), "{once}");
            let twice = with_section(&once, "newer");
            assert!(twice.starts_with(&page) && twice.contains("newer") && !twice.contains("new\n"), "{twice}");
        }
    }

    #[test]
    fn the_section_names_machine_command_and_every_figure() {
        let row = |precision, cross_kv, read_bytes_per_s| SweepRow {
            precision,
            cross_kv,
            figures: BenchFigures {
                batch: 8,
                encode_ms: 459.12,
                step_ms: 17.6,
                tokens_per_s: 335.4,
                read_bytes_per_s,
                floor_ms: 11.0,
                ..BenchFigures::default()
            },
        };
        let run = SweepRun {
            command_line: "server bench --sweep --shape s-s",
            time: "4 March 2026, 05:06 UTC".into(),
            processor: "AMD EPYC".into(),
            instruction_set: "avx512bf16",
            threads: 2,
            model: "s-s",
            source_len: 256,
            target_len: 64,
            rows: &[row("bf16", "int8", 41.0e9), row("int4", "int8", 41.0e9), row("f32", "f32", 30.44e9)],
        };
        let text = section(&run);
        for part in [
            "4 March 2026, 05:06 UTC; AMD EPYC (avx512bf16), 2 threads.\nThe memory read 30.4 to 41.0 GB/s",
            "\n    server bench --sweep --shape s-s\n",
            "\n| precision | batch | encode_ms | step_ms | floor_ms | step over floor | tokens/s |\n|---|",
            "\nThe sources' keys and values (cross_kv) were in int8 beside bf16, int4; f32 beside f32.\n",
            "\n| bf16 | 8 | 459 | 17.6 | 11.0 | 1.60 | 335 |\n| int4 | 8 |",
            "](step-time.svg)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_written_is_refused_at_once() {
        let error = SweepReport::open(Some("/nowhere/at/all.md".as_ref())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.md"), "{error}");
    }

    #[test]
    fn a_page_or_a_chart_that_cannot_be_replaced_is_refused_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page.md");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        SweepReport::open(Some(&page)).unwrap();
        assert_eq!(files(), 0, "nothing is measured yet");
        fs::write(&page, [0xFF, 0xFE]).unwrap();
        let error = SweepReport::open(Some(&page)).unwrap_err();
        assert!(error.to_string().contains("page.md"), "{error}");
        fs::write(&page, "# Page\n").unwrap();
        SweepReport::open(Some(&page)).unwrap();
        assert_eq!(files(), 1);
        fs::create_dir(folder.path().join(CHART)).unwrap();
        let error = SweepReport::open(Some(&page)).unwrap_err();
        assert!(error.to_string().contains(CHART), "{error}");
    }
}
