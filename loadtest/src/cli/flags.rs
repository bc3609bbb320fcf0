//! Flags of a run.

use std::path::PathBuf;

use clap::Args;

use super::replaced::replaced;
use crate::error::LoadtestError;
use crate::scenario::{Arrivals, Endpoint, IdRange, Lengths, RequestKind, Scenario, Stage, Sweep};

/// Seconds of a load whose length is not given.
const SECONDS: f64 = 10.0;

/// Flags of a run. Those that say what is asked apply to every kind of request of the scenario.
#[derive(Debug, Clone, Default, Args)]
pub struct RunFlags {
    /// Address of the server, such as http://127.0.0.1:8080.
    #[arg(long)]
    pub url: Option<String>,
    /// Scenario file, over which the other flags are laid.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Name of the model; without it, the first that the server lists.
    #[arg(long)]
    pub model: Option<String>,
    /// Key of the API; without it, LOADTEST_API_KEY or OPENAI_API_KEY of the environment.
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Further header of every request, as 'Name: value'.
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// File of further trusted root certificates, in PEM.
    #[arg(long, value_name = "FILE")]
    pub roots: Option<PathBuf>,

    /// Requests per second: an open loop.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Rate, or without --rate clients, at the end of a ramp.
    #[arg(long, value_name = "RATE")]
    pub ramp_to: Option<f64>,
    /// Spacing of arrivals.
    #[arg(long, value_enum)]
    pub arrivals: Option<Arrivals>,
    /// Shape of gamma arrivals: below 1 they come in bursts.
    #[arg(long, value_name = "SHAPE")]
    pub burstiness: Option<f64>,
    /// Without --rate, clients of a closed loop; with it, most requests in flight.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Length of the load in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Requests after which the load ends.
    #[arg(long, value_name = "N")]
    pub requests: Option<u64>,
    /// Search for the highest rate that the server keeps up with, from --rate, with steps of --duration.
    #[arg(long)]
    pub sweep: bool,
    /// Requests before the measurement.
    #[arg(long, value_name = "N")]
    pub warmup: Option<u64>,
    /// Seconds after which a request is given up.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Seed of arrivals, sources, lengths and the mix.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Endpoint that is asked.
    #[arg(long, value_enum)]
    pub endpoint: Option<Endpoint>,
    /// Most tokens of an answer.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Answers have exactly --max-tokens tokens: the end token does not end them.
    #[arg(long)]
    pub ignore_eos: bool,
    /// Answers are not streamed.
    #[arg(long)]
    pub no_stream: bool,
    /// JSON Lines file of prompts.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Length of sources that are made up.
    #[arg(long, value_name = "N")]
    pub source_tokens: Option<u32>,
    /// Sources are token ids of this range, such as 10..32000, both ends included.
    #[arg(long, value_name = "FROM..TO")]
    pub ids: Option<String>,
    /// Share of requests that ask a repeated source, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub repeated: Option<f64>,
    /// Width of a beam search.
    #[arg(long, value_name = "N")]
    pub beams: Option<u32>,
    /// JSON schema that answers follow.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Further fields of every body, such as '{"temperature": 0}'.
    #[arg(long, value_name = "JSON")]
    pub extra: Option<String>,

    /// Limit under which an answer is good, in milliseconds: ttft:200, tpot:50 or e2el:2000.
    #[arg(long, value_name = "NAME:MS")]
    pub goodput: Vec<String>,
    /// Limit of a figure that decides the exit code, such as 'p99_ttft_ms<=200'.
    #[arg(long, value_name = "LIMIT")]
    pub limit: Vec<String>,
    /// Address of the server's metrics, or off; without it, /metrics beside the API.
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,

    /// Writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a line of JSON for each request.
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
    /// Writes a report as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Shows no progress and prints no figures.
    #[arg(long)]
    pub quiet: bool,
}

impl RunFlags {
    /// The scenario of the file, or an empty one, with the flags laid over it; and each flag that replaces something of
    /// the file, with what it replaces.
    ///
    /// # Errors
    /// A file or flag that is not understood, or a flag that would change nothing.
    pub fn scenario(&self) -> Result<(Scenario, Vec<String>), LoadtestError> {
        let (mut scenario, keys) = self.scenario.as_deref().map(Scenario::read).transpose()?.unwrap_or_default();
        self.check_load_flags(&scenario)?;
        let replaced = replaced(self, &keys);
        put(&mut scenario.url, self.url.clone());
        scenario.model = self.model.clone().or(scenario.model);
        scenario.metrics = self.metrics.clone().or(scenario.metrics);
        put(&mut scenario.seed, self.seed);
        put(&mut scenario.timeout_seconds, self.timeout);
        put(&mut scenario.warmup_requests, self.warmup);
        self.lay_load(&mut scenario);
        if scenario.requests.is_empty() {
            scenario.requests.push(RequestKind::default());
        }
        for kind in &mut scenario.requests {
            self.lay_request(kind)?;
        }
        for limit in &self.goodput {
            lay_goodput(&mut scenario, limit)?;
        }
        Ok((scenario, replaced))
    }

    /// Refuses flags of a load that has no use for them.
    fn check_load_flags(&self, scenario: &Scenario) -> Result<(), LoadtestError> {
        let fault = |flag, fault: &str| Err(LoadtestError::Flag { flag, fault: fault.to_owned() });
        let is_sweep = self.sweep || scenario.sweep.is_some();
        let makes_stage = self.rate.is_some() || self.concurrency.is_some();
        if self.ramp_to.is_some() && (is_sweep || !makes_stage) {
            return fault(
                "ramp-to",
                "it is the end of --rate or --concurrency without --sweep: add one of them, or remove it",
            );
        }
        if self.duration.is_some() && !is_sweep && !makes_stage && scenario.load.stages.len() > 1 {
            return fault("duration", "the scenario has several stages: change their seconds there, or give --rate");
        }
        Ok(())
    }

    fn lay_load(&self, scenario: &mut Scenario) {
        let load = &mut scenario.load;
        load.arrivals = self.arrivals.unwrap_or(load.arrivals);
        load.burstiness = self.burstiness.or(load.burstiness);
        load.requests = self.requests.or(load.requests);
        if self.sweep || scenario.sweep.is_some() {
            let sweep = scenario.sweep.get_or_insert_with(Sweep::default);
            put(&mut sweep.from, self.rate);
            put(&mut sweep.seconds, self.duration);
            load.concurrency = self.concurrency.or(load.concurrency);
            load.stages.clear();
        } else if let Some(rate) = self.rate {
            let of_requests = self.requests.map(|requests| requests as f64 / rate);
            let seconds = self.duration.or(of_requests).unwrap_or(SECONDS);
            load.stages = vec![Stage { seconds, rate: Some(rate), clients: None, to: self.ramp_to }];
            load.concurrency = self.concurrency.or(load.concurrency);
        } else if let Some(clients) = self.concurrency {
            // A load that ends after its requests is as long as they take.
            let longest = if self.requests.is_some() { 24.0 * 3600.0 } else { SECONDS };
            let seconds = self.duration.unwrap_or(longest);
            load.stages = vec![Stage { seconds, rate: None, clients: Some(clients as f64), to: self.ramp_to }];
        } else if let (Some(seconds), [only]) = (self.duration, &mut load.stages[..]) {
            only.seconds = seconds;
        }
    }

    fn lay_request(&self, kind: &mut RequestKind) -> Result<(), LoadtestError> {
        put(&mut kind.endpoint, self.endpoint);
        put(&mut kind.max_tokens, self.max_tokens.map(Lengths::Fixed));
        put(&mut kind.source_tokens, self.source_tokens.map(Lengths::Fixed));
        put(&mut kind.repeated, self.repeated);
        kind.ignore_eos |= self.ignore_eos;
        kind.beams = self.beams.or(kind.beams);
        kind.schema = self.schema.clone().or(kind.schema.take());
        if self.no_stream {
            kind.stream = Some(false);
        }
        if let Some(prompts) = &self.prompts {
            (kind.prompts, kind.ids) = (Some(prompts.clone()), None);
        }
        if let Some(ids) = &self.ids {
            (kind.ids, kind.prompts) = (Some(id_range(ids)?), None);
        }
        if let Some(extra) = &self.extra {
            let fields: toml::Table = serde_json::from_str(extra).map_err(|error| LoadtestError::Flag {
                flag: "extra",
                fault: format!("{error}: write it as a JSON object without null"),
            })?;
            kind.extra.extend(fields);
        }
        Ok(())
    }
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn id_range(text: &str) -> Result<IdRange, LoadtestError> {
    let ends = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let fault = || LoadtestError::Flag { flag: "ids", fault: format!("{text} is no range: write it as 10..32000") };
    ends.map(|(from, to)| IdRange { from, to }).ok_or_else(fault)
}

fn lay_goodput(scenario: &mut Scenario, text: &str) -> Result<(), LoadtestError> {
    let fault = || {
        let fault = format!("{text} is no limit: write it as ttft:200, tpot:50 or e2el:2000");
        LoadtestError::Flag { flag: "goodput", fault }
    };
    let (name, limit) = text.split_once(':').ok_or_else(fault)?;
    let limit: f64 = limit.parse().map_err(|_| fault())?;
    let place = match name {
        "ttft" => &mut scenario.goodput.ttft_ms,
        "tpot" => &mut scenario.goodput.tpot_ms,
        "e2el" => &mut scenario.goodput.e2el_ms,
        _ => return Err(fault()),
    };
    *place = Some(limit);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    fn laid(flags: &[&str]) -> Result<(Scenario, Vec<String>), LoadtestError> {
        Cli::parse_from([&["loadtest", "--url", "http://localhost:1"], flags].concat()).run.scenario()
    }

    fn scenario(flags: &[&str]) -> Result<Scenario, LoadtestError> {
        laid(flags).map(|(scenario, _)| scenario)
    }

    fn stages(flags: &[&str]) -> Vec<Stage> {
        scenario(flags).unwrap().load.stages
    }

    #[test]
    fn a_rate_makes_an_open_loop_and_concurrency_alone_a_closed_one() {
        let open = |seconds, to| Stage { seconds, rate: Some(20.0), clients: None, to };
        assert_eq!(stages(&["--rate", "20"]), [open(10.0, None)]);
        assert_eq!(stages(&["--rate", "20", "--requests", "50"]), [open(2.5, None)]);
        assert_eq!(stages(&["--rate", "20", "--duration", "3", "--ramp-to", "9"]), [open(3.0, Some(9.0))]);
        let closed = Stage { seconds: 10.0, rate: None, clients: Some(4.0), to: None };
        assert_eq!(stages(&["--concurrency", "4"]), [closed]);
        assert_eq!(scenario(&["--rate", "20", "--concurrency", "4"]).unwrap().load.concurrency, Some(4));
    }

    #[test]
    fn flags_are_laid_over_every_kind_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "seed = 5\n[[requests]]\nbeams = 2\n[[requests]]\nprompts = 'a.jsonl'\n").unwrap();
        let path = file.path().to_str().unwrap();
        let laid = scenario(&["--scenario", path, "--ids", "5..9", "--extra", "{\"temperature\": 0}"]).unwrap();
        assert_eq!((laid.seed, laid.requests[0].beams), (5, Some(2)));
        assert!(laid.requests.iter().all(|kind| kind.ids == Some(IdRange { from: 5, to: 9 })));
        assert!(laid.requests[1].prompts.is_none() && laid.requests[1].extra["temperature"].is_integer());
    }

    #[test]
    fn flags_say_what_they_replace_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "url = 'http://localhost:2'\n[load]\nrequests = 5\nstages = [{ seconds = 1, rate = 2 }]\n\
                    [goodput]\nttft_ms = 5\n[[requests]]\nmax_tokens = 3\nextra = { n = 2, top_p = 0.5 }\n\
                    [[requests]]\nprompts = 'a.jsonl'\nmax_tokens = 4\n";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let replaced = |flags: &[&str]| laid(&[&["--scenario", path], flags].concat()).unwrap().1;
        assert_eq!(replaced(&[]), ["--url (url)"]);
        assert_eq!(replaced(&["--seed", "4", "--beams", "2"]), ["--url (url)"]);
        let flags = ["--rate", "3", "--requests", "9", "--max-tokens", "8", "--ids", "5..9", "--extra", "{\"n\": 3}"];
        let expected = [
            "--url (url)",
            "--rate (load.stages)",
            "--requests (load.requests)",
            "--max-tokens (requests.max_tokens)",
            "--ids (requests.prompts)",
            "--extra (requests.extra.n)",
        ];
        assert_eq!(replaced(&flags), expected);
        assert_eq!(replaced(&["--concurrency", "3"])[1..], ["--concurrency (load.stages)"]);
        assert_eq!(
            replaced(&["--sweep", "--goodput", "ttft:9"])[1..],
            ["--sweep (load.stages)", "--goodput (goodput.ttft_ms)"]
        );
        assert_eq!(replaced(&["--duration", "3"])[1..], ["--duration (load.stages.seconds)"]);
    }

    #[test]
    fn flags_that_would_change_nothing_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "load.stages = [{ seconds = 1, rate = 2 }, { seconds = 1, rate = 3 }]\n").unwrap();
        let path = file.path().to_str().unwrap();
        for (flags, remedy) in [
            (&["--scenario", path, "--duration", "9"][..], "several stages"),
            (&["--scenario", path, "--ramp-to", "9"], "add one of them"),
            (&["--sweep", "--rate", "2", "--ramp-to", "9"], "without --sweep"),
        ] {
            let error = scenario(flags).unwrap_err().to_string();
            assert!(error.contains(remedy), "{flags:?}: {error}");
        }
        assert!(scenario(&["--scenario", path, "--duration", "9", "--rate", "4"]).is_ok());
    }

    #[test]
    fn a_flag_that_is_not_understood_says_how_to_write_it() {
        for (flags, remedy) in [
            (["--goodput", "ttft=3"], "ttft:200"),
            (["--goodput", "p99:3"], "ttft:200"),
            (["--ids", "5-9"], "10..32000"),
            (["--extra", "temperature"], "JSON object"),
        ] {
            let error = scenario(&flags).unwrap_err().to_string();
            assert!(error.contains(remedy), "{flags:?}: {error}");
        }
    }
}
