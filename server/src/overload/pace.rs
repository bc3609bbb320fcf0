//! The measured pace of an engine: work in a second while more waits than it can begin, the time of a step, and how
//! much of what requests ask for they turn out to take.

use std::time::Duration;

use super::step_cost::{StepCost, StepFit, StepSize};
use super::work::Work;

/// Full steps after which their pace counts as known.
const STEPS: f64 = 8.0;
/// Seconds of full steps after which a measurement counts a third: a second of a running service is some hundred steps
/// of a small model, and ten of a large one.
const MEMORY_S: f64 = 5.0;
/// Choices after whose end a measurement of lengths counts a third.
const MEMORY_CHOICES: f64 = 128.0;

/// A step that was run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTaken {
    /// Its duration.
    pub time: Duration,
    /// Its work: positions that were of use, and source tokens, of which a step that runs a part of the encoder's
    /// layers counts a part.
    pub work: Work,
    /// Rows of the decoder.
    pub rows: usize,
    /// Whether something waited that could not begin with it.
    pub is_full: bool,
    /// Whether something waited for the encoder that needs no rows.
    pub encodings_wait: bool,
}

/// Measurements of one engine. Old ones fade.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Units, seconds and number of full steps.
    units: f64,
    seconds: f64,
    steps: f64,
    /// Rows and source tokens of full steps.
    rows: f64,
    source_tokens: f64,
    /// All steps with rows.
    fit: StepFit,
    /// Most tokens of ended choices, their tokens, and their number.
    asked: f64,
    generated: f64,
    choices: f64,
}

impl Pace {
    /// Counts a step. Only full ones tell the pace of overload.
    pub fn step(&mut self, step: &StepTaken) {
        let seconds = step.time.as_secs_f64();
        let (rows, source_tokens) = (step.rows as f64, step.work.source_tokens as f64);
        if step.rows > 0 {
            self.fit.count(StepSize { rows, source_tokens, seconds });
        }
        if !step.is_full || seconds <= 0.0 {
            return;
        }
        // Long steps may be all that there is, so some of them always count.
        let memory = MEMORY_S.max(seconds * 2.0 * STEPS);
        let fading = (-seconds / memory).exp();
        self.units = self.units * fading + step.work.units(1.0) as f64;
        self.seconds = self.seconds * fading + seconds;
        self.steps = self.steps * fading + 1.0;
        self.rows = self.rows * fading + rows;
        self.source_tokens = self.source_tokens * fading + source_tokens;
    }

    /// Counts a choice that ended. One that generates nothing, but is scored, says nothing about lengths.
    pub fn finished(&mut self, asked: u32, generated: u32) {
        if asked == 0 {
            return;
        }
        let fading = (-1.0 / MEMORY_CHOICES).exp();
        self.asked = self.asked * fading + f64::from(asked);
        self.generated = self.generated * fading + f64::from(generated);
        self.choices = self.choices * fading + 1.0;
    }

    /// Units of work in a second of full steps, once it is known.
    pub fn units_per_s(&self) -> Option<f64> {
        self.is_known().then(|| self.units / self.seconds)
    }

    /// Mean time of a full step, once it is known.
    pub fn step_time(&self) -> Option<Duration> {
        self.is_known().then(|| Duration::from_secs_f64(self.seconds / self.steps))
    }

    /// The cost of a step, once full ones and some of far fewer rows were seen, by those of at least so many rows.
    pub fn cost(&self, least: f64) -> Option<StepCost> {
        let Self { rows, source_tokens, seconds, steps, .. } = *self;
        let mean = |sum: f64| sum / steps;
        let full = StepSize { rows: mean(rows), source_tokens: mean(source_tokens), seconds: mean(seconds) };
        if self.is_known() { StepCost::of(&self.fit, full, least) } else { None }
    }

    /// Time of a step of one row beside so many others, once it is known: at most that of full ones.
    pub fn time_of_step(&self, others: usize) -> Option<Duration> {
        let full = self.step_time()?;
        let time = self.cost(0.0).map_or(full, |cost| Duration::from_secs_f64(cost.seconds(others as f64)));
        Some(time.min(full))
    }

    /// Share of the tokens that are asked for which choices turn out to have; 1 until one has ended.
    pub fn share(&self) -> f64 {
        if self.asked > 0.0 { self.generated / self.asked } else { 1.0 }
    }

    /// Tokens of a choice, on average; 0 until one has ended.
    pub fn mean_tokens(&self) -> f64 {
        if self.choices > 0.0 { self.generated / self.choices } else { 0.0 }
    }

    fn is_known(&self) -> bool {
        self.steps >= STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(millis: u64, rows: u64, is_full: bool) -> StepTaken {
        let work = Work { source_tokens: 0, target_tokens: rows };
        StepTaken { time: Duration::from_millis(millis), work, rows: rows as usize, is_full, encodings_wait: false }
    }

    #[test]
    fn the_pace_is_that_of_full_steps_and_follows_them() {
        let mut pace = Pace::default();
        (0..1000).for_each(|_| pace.step(&step(5, 1, false)));
        assert_eq!((pace.units_per_s(), pace.step_time()), (None, None));
        (0..100).for_each(|_| pace.step(&step(20, 64, true)));
        assert!((pace.units_per_s().unwrap() - 16_000.0).abs() < 1.0);
        assert_eq!(pace.step_time().unwrap().as_millis(), 20);
        (0..1000).for_each(|_| pace.step(&step(40, 64, true)));
        assert!((pace.units_per_s().unwrap() - 8000.0).abs() < 100.0);
    }

    #[test]
    fn steps_of_few_rows_take_less_time_than_full_ones() {
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.step(&step(6, 1, false)));
        assert_eq!(pace.time_of_step(0), None);
        (0..100).for_each(|_| pace.step(&step(69, 64, true)));
        let times = [0, 21, 63, 1000].map(|others| pace.time_of_step(others).unwrap().as_secs_f64() * 1e3);
        assert!(
            times.iter().zip([5.0, 26.0, 68.0, 69.0]).all(|(time, wanted)| (time - wanted).abs() < 1e-3),
            "{times:?}"
        );
        let mut full = Pace::default();
        (0..100).for_each(|_| full.step(&step(69, 64, true)));
        assert_eq!(full.time_of_step(0).unwrap().as_millis(), 69, "nothing else was seen");
    }

    #[test]
    fn steps_that_take_long_are_known_after_some_of_them() {
        let mut pace = Pace::default();
        (0..12).for_each(|_| pace.step(&step(60_000, 64, true)));
        assert_eq!(pace.step_time().unwrap().as_secs(), 60);
    }

    #[test]
    fn answers_are_as_long_as_those_before_them() {
        let mut pace = Pace::default();
        assert_eq!((pace.share(), pace.mean_tokens()), (1.0, 0.0));
        (0..10).for_each(|_| pace.finished(100, 25));
        assert!((pace.share() - 0.25).abs() < 1e-9 && (pace.mean_tokens() - 25.0).abs() < 1e-9);
        (0..2000).for_each(|_| pace.finished(100, 100));
        assert!((pace.share() - 1.0).abs() < 1e-6);
    }
}
