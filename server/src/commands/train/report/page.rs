//! The page: overview, curves, samples, validations and settings of a run.
//!
//! Written by the watcher, from `metrics.jsonl`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use model::OutFile;
use model::training::{Prepared, Record, StepRecord, ValidationRecord};

use super::chart::{Chart, Line};
use super::number::{duration, percent, written};
use super::scale::Growth;

/// Name of the page in a run's folder.
pub(super) const FILE: &str = "report.html";

const STYLE: &str = include_str!("style.css");

/// Contents of a page.
pub struct Page<'a> {
    /// Folder of the run.
    pub run: &'a Path,
    /// State of the run in words.
    pub state: &'a str,
    /// Size of the run.
    pub prepared: &'a Prepared,
    /// Measurements, in the order of steps.
    pub records: &'a [Record],
    /// Settings of the run, as TOML.
    pub settings: &'a str,
}

impl Page<'_> {
    /// Path of the page.
    pub fn path(&self) -> PathBuf {
        self.run.join(FILE)
    }

    /// Writes the page in place of an earlier one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> io::Result<()> {
        OutFile::replace(&self.path(), self.html().as_bytes())
    }

    fn html(&self) -> String {
        let steps: Vec<&StepRecord> = self.records.iter().filter_map(step).collect();
        let validations: Vec<&ValidationRecord> = self.records.iter().filter_map(validation).collect();
        let title = escaped(&self.run.display().to_string());
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        html.push_str(&self.overview(&steps, &validations));
        html.push_str(&charts(&steps, &validations));
        html.push_str(&samples(&validations));
        html.push_str(&validation_table(&validations));
        write!(html, "<h2>Configuration</h2>\n<pre>{}</pre>\n</body>\n</html>\n", escaped(self.settings)).expect(TAKES);
        html
    }

    fn overview(&self, steps: &[&StepRecord], validations: &[&ValidationRecord]) -> String {
        let Prepared { total_steps, parameters, train_rows, valid_rows, .. } = self.prepared;
        let mut facts = vec![
            ("state", self.state.to_owned()),
            ("parameters", parameters.to_string()),
            ("rows", format!("{train_rows} to train on, {valid_rows} to validate on")),
        ];
        if let Some(last) = steps.last() {
            let tokens: u64 = steps.iter().map(|step| step.tokens).sum();
            let skipped = steps.iter().filter(|step| step.skipped).count();
            facts.push(("steps", format!("{} of {total_steps}, {skipped} of them skipped", last.step)));
            facts.push(("tokens", format!("{tokens}, {} a second at last", written(last.tokens_per_s.round()))));
            facts.push(("epochs", written(last.epoch)));
            facts.push(("time", duration(last.elapsed_s)));
        }
        if let Some(best) = validations.iter().rev().find(|validation| validation.best) {
            let (loss, accuracy) = (written(best.valid_loss), percent(best.accuracy));
            facts.push(("best validation", format!("loss {loss}, accuracy {accuracy} at step {}", best.step)));
        }
        let rows = facts.iter().map(|(name, fact)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(fact)));
        format!("<table>\n{}</table>\n", rows.collect::<String>())
    }
}

const TAKES: &str = "a string takes all";

fn step(record: &Record) -> Option<&StepRecord> {
    if let Record::Step(step) = record { Some(step) } else { None }
}

fn validation(record: &Record) -> Option<&ValidationRecord> {
    if let Record::Validation(validation) = record { Some(validation) } else { None }
}

fn charts(steps: &[&StepRecord], validations: &[&ValidationRecord]) -> String {
    let of_steps = |figure: fn(&StepRecord) -> f64| steps.iter().map(|step| (step.step, figure(step))).collect();
    let of_validations = |figure: fn(&ValidationRecord) -> f64| {
        validations.iter().map(|validation| (validation.step, figure(validation))).collect()
    };
    let beginnings: Vec<u64> =
        steps.windows(2).filter(|pair| pair[0].stage != pair[1].stage).map(|pair| pair[1].step).collect();
    let chart = |title, growth, lines| Chart { title, growth, lines, marks: &beginnings }.html();
    let line = |label, points, has_dots| Line { label, points, has_dots };
    let loss = vec![
        line("training", of_steps(|step| step.cross_entropy), false),
        line("validation", of_validations(|validation| validation.valid_loss), true),
    ];
    let mut html = "<h2>Curves</h2>\n".to_owned();
    html.push_str(&chart("Cross-entropy, nats a target token", Growth::Linear, loss));
    let accuracy = vec![line("validation", of_validations(|validation| validation.accuracy), true)];
    html.push_str(&chart("Accuracy, share of target tokens or labels", Growth::Linear, accuracy));
    let rate = vec![line("learning rate", of_steps(|step| step.learning_rate), false)];
    html.push_str(&chart("Learning rate", Growth::Linear, rate));
    let norm = vec![line("gradient norm", of_steps(|step| step.gradient_norm), false)];
    html.push_str(&chart("Gradient norm before clipping", Growth::Logarithmic, norm));
    html
}

fn samples(validations: &[&ValidationRecord]) -> String {
    let Some(last) = validations.iter().rev().find(|validation| !validation.samples.is_empty()) else {
        return String::new();
    };
    let mut html = format!(
        "<h2>Samples at step {}</h2>\n<table>\n<tr><th>source</th><th>expected</th><th>written</th></tr>\n",
        last.step
    );
    for sample in &last.samples {
        let cells =
            [&sample.source, &sample.expected, &sample.written].map(|text| format!("<td>{}</td>", escaped(text)));
        writeln!(html, "<tr>{}</tr>", cells.concat()).expect(TAKES);
    }
    html.push_str("</table>\n");
    html
}

fn validation_table(validations: &[&ValidationRecord]) -> String {
    if validations.is_empty() {
        return String::new();
    }
    let mut html = "<details>\n<summary>All validations</summary>\n<table>\n<tr><th>step</th><th>loss</th>\
                    <th>perplexity</th><th>accuracy</th><th>time</th></tr>\n"
        .to_owned();
    for record in validations {
        let ValidationRecord { step, valid_loss, perplexity, accuracy, elapsed_s, .. } = record;
        let figures =
            [step.to_string(), written(*valid_loss), written(*perplexity), percent(*accuracy), duration(*elapsed_s)];
        writeln!(html, "<tr>{}</tr>", figures.map(|figure| format!("<td>{figure}</td>")).concat()).expect(TAKES);
    }
    html.push_str("</table>\n</details>\n");
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use model::training::Sample;

    use super::*;

    fn records() -> Vec<Record> {
        let step = |step: u64| StepRecord {
            step,
            epoch: step as f64 / 4.0,
            stage: usize::from(step > 2),
            loss: 3.0 / step as f64,
            cross_entropy: 3.0 / step as f64,
            learning_rate: 1e-3,
            gradient_norm: 0.5,
            tokens: 100,
            tokens_per_s: 1234.5,
            elapsed_s: step as f64,
            skipped: step == 3,
        };
        let sample = |written: &str| Sample {
            source: "a <b> & \"c\"".to_owned(),
            expected: "two\nlines".to_owned(),
            written: written.to_owned(),
        };
        let validation = |step: u64, best: bool, written: &str| ValidationRecord {
            step,
            valid_loss: 1.5,
            accuracy: 0.25,
            perplexity: 4.48,
            tokens: 12,
            best,
            elapsed_s: 70.0,
            samples: vec![sample(written)],
        };
        let mut records: Vec<Record> = (1..=4).map(|number| Record::Step(step(number))).collect();
        records.push(Record::Validation(validation(2, true, "an earlier answer")));
        records.push(Record::Validation(validation(4, false, "</td>last")));
        records
    }

    fn html(records: &[Record]) -> String {
        let prepared = Prepared { done_steps: 0, total_steps: 10, parameters: 5, train_rows: 7, valid_rows: 3 };
        let run = Path::new("runs/<mine>");
        Page { run, state: "running", prepared: &prepared, records, settings: "out = \"a\"\n" }.html()
    }

    #[test]
    fn the_page_has_curves_the_last_samples_and_the_configuration() {
        let html = html(&records());
        assert_eq!(html.matches("<svg").count(), 4, "{html}");
        for part in [
            "runs/&lt;mine&gt;",
            "4 of 10, 1 of them skipped",
            "400, 1235 a second at last",
            "loss 1.5, accuracy 25.0 % at step 2",
            "Samples at step 4",
            "a &lt;b&gt; &amp; &quot;c&quot;",
            "&lt;/td&gt;last",
            "1 min 10 s",
            "out = &quot;a&quot;",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("an earlier answer"), "samples of earlier validations are in metrics.jsonl");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_reads_in_the_dark() {
        let html = html(&records());
        for part in ["http", "src=", "href=", "@import", "url(", "<script"] {
            assert!(!html.contains(part), "{part}");
        }
        assert!(html.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn a_run_that_has_just_begun_has_a_page_without_curves() {
        let html = html(&[]);
        assert!(html.contains("5") && !html.contains("<svg") && html.ends_with("</html>\n"), "{html}");
    }

    #[test]
    fn times_are_written_as_people_say_them() {
        assert_eq!([0.25, 61.0, 7260.0].map(duration), ["0.2 s", "1 min 1 s", "2 h 1 min"]);
    }
}
