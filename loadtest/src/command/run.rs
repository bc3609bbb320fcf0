//! A run: from the scenario to the reports.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::model::model;
use super::outputs::{RecordLog, try_places, write};
use super::progress::Progress;
use crate::cli::RunFlags;
use crate::client::{Access, Address, Client};
use crate::error::LoadtestError;
use crate::measurement::{Figures, Recorder};
use crate::report::{Report, Step, html, json, text};
use crate::run::{Halt, HaltSwitch, Run, Search, Sink};
use crate::scenario::{Pace, RateStage, Scenario, Sweep};
use crate::scrape::Scraper;
use crate::thresholds::{Threshold, misses};
use crate::workload::Workload;

/// Numbers between the first requests of two steps of a sweep.
const STEP_NUMBERS: u64 = 1 << 40;

/// A run with everything that it needs.
struct Session<'a> {
    flags: &'a RunFlags,
    scenario: Scenario,
    run: Run,
    recorder: Arc<Mutex<Recorder>>,
    log: Option<Arc<RecordLog>>,
}

/// Runs the scenario of the flags, and gives whether all is good.
///
/// # Errors
/// What kept the load from being run, or its reports from being written.
pub async fn run(flags: &RunFlags) -> Result<bool, LoadtestError> {
    let (scenario, replaced) = flags.scenario()?;
    if !replaced.is_empty() {
        eprintln!("flags replace what the scenario file says: {}", replaced.join(", "));
    }
    let pace = scenario.check()?;
    let thresholds = Threshold::all(&scenario.thresholds, &flags.limit)?;
    try_places(flags)?;
    let access = Access { api_key: flags.api_key.clone(), headers: flags.header.clone(), roots: flags.roots.clone() };
    let client = Arc::new(Client::new(Address::parse(&scenario.url)?, &access).await?);
    let model = model(&client, &scenario).await?;
    let workload = Arc::new(Workload::new(&scenario, model.clone())?);
    let log = flags.jsonl.as_deref().map(|path| RecordLog::create(path, workload.kind_names()));
    let log = log.transpose()?.map(Arc::new);
    let recorder = Arc::new(Mutex::new(Recorder::new(scenario.goodput)));
    let run = Run {
        client: Arc::clone(&client),
        workload,
        timeout: scenario.timeout(),
        seed: scenario.seed,
        sink: sink(&recorder, log.as_ref()),
        halt: HaltSwitch::default(),
        sent: Arc::new(AtomicU64::new(0)),
    };
    run.warm_up(scenario.warmup_requests).await.map_err(|fault| {
        let url = scenario.url.clone();
        LoadtestError::WarmUp { url, fault }
    })?;
    tokio::spawn(end_on_interrupt(run.halt.clone()));
    let scraper = scraper(&scenario, client).await?;
    let session = Session { flags, scenario, run, recorder, log };
    let (figures, steps) = match (&session.scenario.sweep, pace) {
        (None, Some(pace)) => (session.load(&pace).await, Vec::new()),
        (sweep, _) => session.sweep(sweep.unwrap_or_default()).await,
    };
    let logged = session.log.as_ref().map_or(Ok(()), |log| log.finish());
    let samples = scraper.map(|scraper| scraper.samples()).unwrap_or_default();
    let mut misses = misses(&figures, &thresholds);
    if session.run.halt.now() != Halt::No {
        misses.push("the load was interrupted".to_owned());
    }
    let report = Report { model, scenario: session.scenario, figures, steps, samples, misses };
    // What was measured is not lost to a file that cannot be written.
    logged.and(write_reports(flags, &report))?;
    Ok(report.misses.is_empty())
}

/// Writes all reports, and gives the first error.
fn write_reports(flags: &RunFlags, report: &Report) -> Result<(), LoadtestError> {
    if !flags.quiet {
        print!("{}", text(report));
    }
    for miss in &report.misses {
        eprintln!("not good: {miss}");
    }
    let figures = flags.json.as_deref().map_or(Ok(()), |path| write(path, &json(report)));
    let page = flags.html.as_deref().map_or(Ok(()), |path| write(path, &html(report)?));
    figures.and(page)
}

impl Session<'_> {
    async fn load(&self, pace: &Pace) -> Figures {
        let _progress = self.progress(String::new(), &self.recorder);
        self.run.load(&self.scenario.load, pace, 0).await;
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).figures()
    }

    /// Tries rates one after the other. The figures are those of the highest rate that was kept, or of the first.
    async fn sweep(&self, sweep: Sweep) -> (Figures, Vec<Step>) {
        let mut search = Search::new(sweep);
        let mut steps: Vec<Step> = Vec::new();
        while let Some(rate) = search.next_rate() {
            if self.run.halt.now() != Halt::No {
                break;
            }
            let figures = self.step(sweep, rate, steps.len() as u64).await;
            let first = steps.first().map_or(&figures, |step| &step.figures);
            let share = kept_share(&figures, first, sweep.seconds);
            search.take(rate, share);
            steps.push(Step { rate, figures, share });
        }
        let kept = search.highest_kept();
        let best = steps.iter().find(|step| Some(step.rate) == kept).or(steps.first());
        let figures = best.map_or_else(|| Recorder::default().figures(), |step| step.figures.clone());
        (figures, steps)
    }

    async fn step(&self, sweep: Sweep, rate: f64, index: u64) -> Figures {
        let recorder = Arc::new(Mutex::new(Recorder::new(self.scenario.goodput)));
        let run = Run { sink: sink(&recorder, self.log.as_ref()), ..self.run.clone() };
        let _progress = self.progress(format!("{rate:.1} requests/s, "), &recorder);
        let pace = Pace::Open(vec![RateStage { seconds: sweep.seconds, from: rate, to: rate }]);
        run.load(&self.scenario.load, &pace, index * STEP_NUMBERS).await;
        recorder.lock().unwrap_or_else(PoisonError::into_inner).figures()
    }

    fn progress(&self, name: String, recorder: &Arc<Mutex<Recorder>>) -> Option<Progress> {
        let (recorder, sent) = (Arc::clone(recorder), Arc::clone(&self.run.sent));
        (!self.flags.quiet).then(|| Progress::start(name, recorder, sent))
    }
}

fn sink(recorder: &Arc<Mutex<Recorder>>, log: Option<&Arc<RecordLog>>) -> Sink {
    let (recorder, log) = (Arc::clone(recorder), log.cloned());
    Arc::new(move |record| {
        recorder.lock().unwrap_or_else(PoisonError::into_inner).add(record);
        if let Some(log) = &log {
            log.add(record);
        }
    })
}

async fn end_on_interrupt(halt: HaltSwitch) {
    while tokio::signal::ctrl_c().await.is_ok() {
        match halt.turn() {
            Halt::AtOnce => eprintln!("answers in flight are given up"),
            _ => eprintln!("nothing more is sent; interrupt again to give up the answers in flight"),
        }
    }
}

async fn scraper(scenario: &Scenario, client: Arc<Client>) -> Result<Option<Scraper>, LoadtestError> {
    let start = Instant::now();
    Ok(match scenario.metrics.as_deref() {
        Some("off") => None,
        None => Some(Scraper::start(client, "/metrics".to_owned(), start)),
        Some(url) => {
            let client = Client::new(Address::parse(url)?, &Access::default()).await?;
            Some(Scraper::start(Arc::new(client), String::new(), start))
        }
    })
}

/// Share of a step's requests that were answered well while they came. A server that keeps up needs no longer than the
/// step and one usual answer; the latencies of the first step say how long that is.
fn kept_share(figures: &Figures, first: &Figures, seconds: f64) -> f64 {
    let latencies = &first.e2el;
    // In an overloaded first step the slow answers have queued, but the fast ones have not.
    let usual = latencies.percentile_ms(99.0).min(4.0 * latencies.percentile_ms(10.0)) / 1000.0;
    let offered = (figures.counts.ended - figures.counts.left) as f64;
    if offered == 0.0 {
        return 0.0;
    }
    let stretch = (figures.judged_duration - usual).max(seconds) / seconds;
    figures.counts.good as f64 / offered / stretch
}
