//! The report of a sweep: a section of a Markdown file between two markers, and a chart beside it.
//!
//! Used by the sweep. What stands outside the markers is never touched.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::plot;
use super::sweep::{COLUMNS, Row};
use super::table::piped;
use crate::commands::CommandError;

const BEGIN: &str = "<!-- sweep:begin -->";
const END: &str = "<!-- sweep:end -->";
/// The chart's file, in the report's folder.
const CHART: &str = "step-time.svg";
/// Where a report goes that nobody named, if there is such a page here.
const USUAL_PAGE: &str = "docs/benchmarks.md";
const NEW_PAGE: &str = "benchmarks.md";

/// A sweep that was run.
#[derive(Debug)]
pub struct Run<'a> {
    /// How the process was asked.
    pub command_line: &'a str,
    /// When it ended.
    pub time: String,
    /// Name of the processor.
    pub processor: String,
    /// Instructions the kernels used.
    pub instruction_set: &'a str,
    /// Threads of the model.
    pub threads: usize,
    /// Shape or name of the model.
    pub model: &'a str,
    /// Tokens of each source.
    pub source_len: usize,
    /// Tokens generated from each.
    pub target_len: usize,
    /// The table.
    pub rows: &'a [Row],
}

/// A page that can be written.
#[derive(Debug)]
pub struct Report {
    page: PathBuf,
}

impl Report {
    /// Makes sure, before hours of measuring, that the page can be written; a missing one is created.
    ///
    /// # Errors
    /// When it cannot.
    pub fn open(named: Option<&Path>) -> Result<Self, CommandError> {
        let usual = || if Path::new(USUAL_PAGE).exists() { USUAL_PAGE } else { NEW_PAGE };
        let page = named.map_or_else(|| usual().into(), Path::to_owned);
        OpenOptions::new().append(true).create(true).open(&page).map_err(refused(&page))?;
        Ok(Self { page })
    }

    /// Replaces the page's section and the chart; gives the names of both files.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, run: &Run<'_>) -> Result<String, CommandError> {
        let chart = self.page.with_file_name(CHART);
        fs::write(&chart, plot::step_time(run.rows)?).map_err(refused(&chart))?;
        let page = fs::read_to_string(&self.page).map_err(refused(&self.page))?;
        fs::write(&self.page, with_section(&page, &section(run))).map_err(refused(&self.page))?;
        Ok(format!("{} and {}", self.page.display(), chart.display()))
    }
}

fn refused(path: &Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let path = path.to_owned();
    move |source| CommandError::Report { path, source }
}

/// The page with `section` between its markers; a page without a pair of markers gets both at its end.
fn with_section(page: &str, section: &str) -> String {
    let marked = format!("{BEGIN}\n\n{}\n\n{END}", section.trim());
    // The begin that is nearest to an end: a lone marker elsewhere must not swallow what follows it.
    let pair = page.match_indices(END).find_map(|(end, _)| Some((page[..end].rfind(BEGIN)?, end + END.len())));
    match pair {
        Some((begin, end)) => format!("{}{marked}{}", &page[..begin], &page[end..]),
        None if page.trim().is_empty() => format!("{marked}\n"),
        None => format!("{}\n\n{marked}\n", page.trim_end()),
    }
}

fn section(run: &Run<'_>) -> String {
    let Run { time, processor, instruction_set, threads, model, source_len, target_len, rows, .. } = run;
    let threads = format!("{threads} thread{}", if *threads == 1 { "" } else { "s" });
    let header = [piped(&COLUMNS.map(str::to_owned)), format!("|{}", "---|".repeat(COLUMNS.len()))];
    let table: Vec<String> = header.into_iter().chain(rows.iter().map(|row| piped(&row.cells()))).collect();
    format!(
        "{time}; {processor} ({instruction_set}), {threads}; the memory gave {} GB/s, measured before each precision.\n\
         Model {model}, source {source_len} tokens, target {target_len}.\n\n    {}\n\n{}\n\n\
         ![Time of a decode step against batch size, with each precision's floor]({CHART})",
        memory_speed(rows),
        run.command_line,
        table.join("\n"),
    )
}

/// Slowest and fastest, in GB/s.
fn memory_speed(rows: &[Row]) -> String {
    let speeds = || rows.iter().map(|row| row.figures.read_bytes_per_s / 1e9);
    let (least, most) = (speeds().fold(f64::INFINITY, f64::min), speeds().fold(0.0, f64::max));
    let [least, most] = [least, most].map(|speed| format!("{speed:.1}"));
    if least == most { least } else { format!("{least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::measure::Figures;

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
        let row = |precision, read_bytes_per_s| Row {
            precision,
            figures: Figures {
                batch: 8,
                encode_ms: 459.12,
                step_ms: 17.6,
                decode_tokens_per_s: 450.0,
                tokens_per_s: 335.4,
                step_bytes: 1,
                read_bytes_per_s,
                floor_ms: 11.0,
            },
        };
        let run = Run {
            command_line: "server bench --sweep --shape s-s",
            time: "4 March 2026, 05:06 UTC".into(),
            processor: "AMD EPYC".into(),
            instruction_set: "avx512bf16",
            threads: 2,
            model: "s-s",
            source_len: 256,
            target_len: 64,
            rows: &[row("f32", 30.44e9), row("bf16", 41.0e9)],
        };
        let text = section(&run);
        for part in [
            "4 March 2026, 05:06 UTC; AMD EPYC (avx512bf16), 2 threads; the memory gave 30.4 to 41.0 GB/s",
            "\n    server bench --sweep --shape s-s\n",
            "\n| precision | batch | encode_ms | step_ms | floor_ms | step over floor | tokens/s |\n|---|",
            "\n| f32 | 8 | 459 | 17.6 | 11.0 | 1.60 | 335 |\n| bf16 | 8 |",
            "](step-time.svg)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_written_is_refused_at_once() {
        let error = Report::open(Some("/nowhere/at/all.md".as_ref())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.md"), "{error}");
    }
}
