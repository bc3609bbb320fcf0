//! Who asks, when, and for what.

use std::sync::Arc;

use kernels::Sampling;
use simulation::request::{
    BeamSearch, CallId, Caller, EarlyStopping, EncodeRequest, GenerationRequest, Priority, Readout, Salt,
};

use super::device::{BROKEN, VOCABULARY};
use super::dice::Dice;
use super::forms::Form;

/// Virtual time that the load stays as heavy as it is, on average, in microseconds.
const PHASE: f64 = 4e6;
/// Share of the machine's capacity that is asked for in a phase, in percent.
const LOADS: [f64; 4] = [20.0, 60.0, 95.0, 400.0];

/// A client's request.
#[derive(Debug)]
pub enum Asked {
    /// With the form of its answers, where it asks for one.
    Generation(GenerationRequest, Option<Form>),
    Encoding(EncodeRequest),
}

/// A client that comes.
#[derive(Debug)]
pub struct Visit {
    pub caller: Caller,
    pub asked: Vec<Asked>,
    /// Virtual time after which the client has gone away.
    pub patience: Option<u64>,
}

/// The clients to come.
#[derive(Debug)]
pub struct Load {
    dice: Dice,
    calls: u64,
    /// Time of the next visit.
    pub next: u64,
    phase_end: u64,
    /// Mean time between visits in this phase.
    gap: f64,
    /// Mean time between visits that keep the machine just busy.
    capacity_gap: f64,
    most_choices: usize,
}

impl Load {
    /// Clients of a machine that answers one each `capacity_gap` microseconds, and that runs so many choices at once.
    pub fn new(dice: Dice, capacity_gap: f64, most_choices: usize) -> Self {
        Self { dice, calls: 0, next: 0, phase_end: 0, gap: capacity_gap, capacity_gap, most_choices }
    }

    /// The client that comes now.
    pub fn visit(&mut self) -> Visit {
        if self.next >= self.phase_end {
            self.phase_end = self.next + self.dice.wait(PHASE);
            self.gap = self.capacity_gap * 100.0 / LOADS[self.dice.below(4) as usize];
        }
        self.next += self.dice.wait(self.gap);
        self.calls += 1;
        let dice = &mut self.dice;
        let priority = if dice.once_in(4) { Priority::Idle } else { Priority::Interactive };
        let salt = if dice.once_in(5) { Salt::of(b"salt") } else { Salt::default() };
        // Now and then one call brings a flood.
        let requests = if dice.once_in(100) { dice.between(10, 40) } else { dice.between(1, 2) };
        let asked = (0..requests).map(|_| asked(dice, self.most_choices)).collect();
        let patience = dice.once_in(8).then(|| dice.wait(3e5));
        Visit { caller: Caller { call: CallId(self.calls), priority, salt, ..Caller::default() }, asked, patience }
    }
}

fn asked(dice: &mut Dice, most_choices: usize) -> Asked {
    let source = source(dice);
    if dice.once_in(8) {
        let readout = if dice.once_in(2) { Readout::Mean } else { Readout::LastToken };
        return Asked::Encoding(EncodeRequest { source, readout });
    }
    let prompt = if dice.once_in(4) { dice.between(1, 24) } else { 0 };
    let width = dice.between(2, 4).min(most_choices) as u32;
    let beams = (dice.once_in(10) && width > 1).then(|| BeamSearch {
        width,
        length_penalty: [0.0, 1.0, 2.0][dice.below(3) as usize],
        early_stopping: [EarlyStopping::Unlikely, EarlyStopping::Full, EarlyStopping::Impossible]
            [dice.below(3) as usize],
    });
    let choices = if dice.once_in(4) { dice.between(1, 3.min(most_choices)) as u32 } else { 1 };
    let form = dice.once_in(5).then(|| Form::new(dice.next()));
    let asked = GenerationRequest {
        decoder_prompt: (0..prompt).map(|_| 2 + dice.below(u64::from(VOCABULARY) - 2) as u32).collect(),
        choices: beams.map_or(choices, |beams| choices.min(beams.width)),
        beams,
        ignore_end: dice.once_in(2) && form.is_none(),
        constraint: form.map(Form::constraint),
        speculation: dice.once_in(2),
        sampling: Sampling { seed: dice.next(), ..Sampling::GREEDY },
        ..GenerationRequest::new(source, dice.between(1, 40) as u32)
    };
    Asked::Generation(asked, form)
}

/// One of a few sources of four, most of which come again.
fn source(dice: &mut Dice) -> Arc<[u32]> {
    if dice.once_in(300) {
        return vec![BROKEN; 7].into();
    }
    let names = if dice.once_in(4) { 1000 } else { 12 };
    let name = dice.below(names);
    let mut own = Dice::new(name);
    let tokens = if name % 50 == 1 { own.between(80, 140) } else { own.between(1, 60) };
    (0..tokens).map(|_| 2 + own.below(40) as u32).collect()
}
