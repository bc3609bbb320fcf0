//! Whether a scenario can be run. All faults are found together.

use super::file::{Goodput, Scenario};
use super::load::{Arrivals, ClientStage, Load, Pace, RateStage, Stage, Sweep};
use super::request_kind::{Endpoint, RequestKind};
use crate::error::LoadtestError;

/// Longest stage, step or time-out: a month.
const MOST_SECONDS: f64 = 31.0 * 24.0 * 3600.0;
const MOST_RATE: f64 = 1e6;
const MOST_CLIENTS: f64 = 100_000.0;

impl Scenario {
    /// Checks the scenario, and gives its load. A sweep has none: its rates come one after the other.
    ///
    /// # Errors
    /// Every fault, each with what to do.
    pub fn check(&self) -> Result<Option<Pace>, LoadtestError> {
        let mut faults = Vec::new();
        let mut need = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        need(!self.url.is_empty(), "no server: give --url http://HOST:PORT, or url in the scenario file");
        need(is_time(self.timeout_seconds), "timeout_seconds has to be above 0 and at most a month");
        need(!self.requests.is_empty(), "no kind of request: add a [[requests]] table");
        check_goodput(self.goodput, &mut need);
        if let Some(sweep) = &self.sweep {
            check_sweep(sweep, &mut need);
            need(self.load.stages.is_empty(), "a sweep has rates of its own: leave out load.stages");
        }
        check_load(&self.load, &mut need);
        let total: f64 = self.requests.iter().map(|kind| kind.weight).sum();
        let weights_are_good = self.requests.iter().all(|kind| kind.weight >= 0.0) && total > 0.0 && total.is_finite();
        need(weights_are_good || self.requests.is_empty(), "weights of requests are at least 0, and not all of them 0");
        for kind in &self.requests {
            let name = kind.name().to_owned();
            check_kind(kind, &mut |holds, fault| need(holds, &format!("requests \"{name}\": {fault}")));
        }
        let pace = if self.sweep.is_some() { Ok(None) } else { pace(&self.load.stages).map(Some) };
        if let Err(fault) = &pace {
            faults.push((*fault).to_owned());
        }
        if !faults.is_empty() {
            return Err(LoadtestError::Scenario { faults });
        }
        Ok(pace.expect("a fault of the load is among the faults"))
    }
}

fn is_time(seconds: f64) -> bool {
    seconds > 0.0 && seconds <= MOST_SECONDS
}

fn check_goodput(goodput: Goodput, need: &mut dyn FnMut(bool, &str)) {
    let limits = [goodput.ttft_ms, goodput.tpot_ms, goodput.e2el_ms];
    need(limits.into_iter().flatten().all(|limit| limit > 0.0), "limits of goodput have to be above 0");
}

fn check_sweep(sweep: &Sweep, need: &mut dyn FnMut(bool, &str)) {
    need(sweep.from > 0.0 && sweep.from <= MOST_RATE, "sweep.from is a rate above 0, at most 1000000");
    need(sweep.factor > 1.0 && sweep.factor <= 100.0, "sweep.factor is above 1, at most 100");
    need(is_time(sweep.seconds), "sweep.seconds has to be above 0 and at most a month");
    need((1..=1000).contains(&sweep.most_steps), "sweep.most_steps is 1 to 1000");
    need(sweep.refine <= 100, "sweep.refine is at most 100");
    need(sweep.least_share > 0.0 && sweep.least_share <= 1.0, "sweep.least_share is above 0, at most 1");
}

fn check_load(load: &Load, need: &mut dyn FnMut(bool, &str)) {
    let shape = load.burstiness.unwrap_or(1.0);
    need((0.001..=1000.0).contains(&shape), "load.burstiness is 0.001 to 1000");
    let has_use = load.burstiness.is_none() || load.arrivals == Arrivals::Gamma;
    need(has_use, "load.burstiness is for arrivals = \"gamma\" alone");
    need(load.concurrency != Some(0), "load.concurrency is at least 1");
    need(load.requests != Some(0), "load.requests is at least 1");
}

fn check_kind(kind: &RequestKind, need: &mut dyn FnMut(bool, &str)) {
    let share = |share: f64| (0.0..=1.0).contains(&share);
    need(share(kind.repeated), "repeated is a share, 0 to 1");
    need(kind.repeated_sources > 0, "repeated_sources is at least 1");
    need(kind.source_tokens.least() > 0, "source_tokens is at least 1");
    need(kind.max_tokens.least() > 0, "max_tokens is at least 1");
    need(kind.ids.is_none_or(|ids| ids.from <= ids.to), "ids.from is at most ids.to");
    need(kind.ids.is_none() || kind.prompts.is_none(), "either prompts or ids: remove one");
    need(kind.ids.is_none() || kind.endpoint != Endpoint::Chat, "a chat has no ids: remove ids");
    need(kind.beams.is_none_or(|beams| beams > 0), "beams is at least 1");
    let generates = kind.endpoint != Endpoint::Embeddings;
    need(generates || kind.beams.is_none() && kind.schema.is_none(), "embeddings have no beams and no schema");
    need(generates || kind.stream != Some(true), "embeddings are not streamed: remove stream");
    let shares = [kind.cancel.map(|it| it.share), kind.slow.map(|it| it.share), kind.vanish.map(|it| it.share)];
    let sum: f64 = shares.into_iter().flatten().sum();
    let each = shares.into_iter().flatten().all(share);
    need(each && sum <= 1.0, "shares of cancel, slow and vanish are 0 to 1, and 1 at most together");
    let times = [
        kind.cancel.map(|cancel| cancel.after_ms / 1000.0),
        kind.slow.map(|slow| slow.pause_ms / 1000.0),
        kind.vanish.map(|vanish| vanish.seconds),
    ];
    need(times.into_iter().flatten().all(is_time), "after_ms, pause_ms and seconds are above 0 and at most a month");
}

fn pace(stages: &[Stage]) -> Result<Pace, &'static str> {
    let none = "no load: give --rate (open loop) or --concurrency (closed loop), or load.stages in the scenario file";
    if stages.is_empty() {
        return Err(none);
    }
    if !stages.iter().all(|stage| is_time(stage.seconds)) {
        return Err("seconds of a stage are above 0 and at most a month");
    }
    let ends = |start: f64, to: Option<f64>, most: f64| {
        let to = to.unwrap_or(start);
        let fits = |value: f64| (0.0..=most).contains(&value);
        (fits(start) && fits(to) && start + to > 0.0).then_some((start, to))
    };
    if stages.iter().all(|stage| stage.rate.is_some() && stage.clients.is_none()) {
        let stage = |stage: &Stage| {
            let (from, to) = ends(stage.rate?, stage.to, MOST_RATE)?;
            Some(RateStage { seconds: stage.seconds, from, to })
        };
        let stages: Option<Vec<_>> = stages.iter().map(stage).collect();
        return stages
            .map(Pace::Open)
            .ok_or("rates are at least 0, at most 1000000, and not 0 at both ends of a stage");
    }
    if stages.iter().all(|stage| stage.clients.is_some() && stage.rate.is_none()) {
        let stage = |stage: &Stage| {
            let (from, to) = ends(stage.clients?, stage.to, MOST_CLIENTS)?;
            Some(ClientStage { seconds: stage.seconds, from, to })
        };
        let stages: Option<Vec<_>> = stages.iter().map(stage).collect();
        return stages.map(Pace::Closed).ok_or("clients are at most 100000, and not 0 at both ends of a stage");
    }
    Err("stages are all open (rate) or all closed (clients): give each stage one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "url = 'http://localhost:1'\n[load]\nstages = [{ seconds = 1, rate = 2 }]\n";

    fn faults(text: &str) -> String {
        match Scenario::parse(text).unwrap().check() {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_ramp_has_two_rates_and_a_plain_stage_one() {
        let stages = "[{ seconds = 1, rate = 2 }, { seconds = 3, rate = 2, to = 9 }]";
        let text = format!("url = 'http://localhost:1'\n[load]\nstages = {stages}\n[[requests]]\n");
        let stage = |seconds, from, to| RateStage { seconds, from, to };
        let expected = Pace::Open(vec![stage(1.0, 2.0, 2.0), stage(3.0, 2.0, 9.0)]);
        assert_eq!(Scenario::parse(&text).unwrap().check().unwrap(), Some(expected));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let said = faults("timeout_seconds = 0\n[load]\nburstiness = 2\n[[requests]]\nrepeated = 3\nmax_tokens = 0\n");
        for fault in ["--url", "timeout_seconds", "burstiness", "\"completions\": repeated", "max_tokens", "--rate"] {
            assert!(said.contains(fault), "{fault}: {said}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for (text, reason) in [
            ("endpoint = 'chat'\nids = { from = 1, to = 2 }", "a chat has no ids"),
            ("endpoint = 'embeddings'\nbeams = 2", "no beams"),
            ("endpoint = 'embeddings'\nstream = true", "not streamed"),
            ("cancel = { share = 0.7, after_ms = 1 }\nslow = { share = 0.7, pause_ms = 1 }", "1 at most together"),
            ("weight = 0", "not all of them 0"),
            ("vanish = { share = 0.1, seconds = 0 }", "above 0"),
        ] {
            let said = faults(&format!("{GOOD}[[requests]]\n{text}\n"));
            assert!(said.contains(reason), "{text}: {said}");
        }
        assert_eq!(faults(&format!("{GOOD}[[requests]]\n")), "");
        let mixed = GOOD.replace("rate = 2 }", "rate = 2 }, { seconds = 1, clients = 2 }");
        assert!(faults(&format!("{mixed}[[requests]]\n")).contains("all open"));
    }
}
