//! A fake model that runs a step when the test lets it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kernels::{BestAsk, Candidate, DrawRules, Sampling, ScoreAsk};
use model::{EncoderCost, PagePieces};
use server::engine::{
    Engine, EngineLimits, EngineSettings, Executor, ExecutorError, Generation, MaskLimits, TokenScore,
};
use server::request::{GenerationEvent, GenerationRequest, Salt};
use server::scheduler::{BoundaryTokens, EncodeWork, Plan, PoolSize, SchedulerLimits};
use server::telemetry::EngineMetrics;

use crate::answer::PATIENCE;

/// The seed of a request whose logits are not numbers.
pub const BROKEN: u64 = 666;
/// A token of a decoder prompt that has no log-probability.
pub const UNSCORED: u32 = 667;
/// Added to a token's position in the target.
pub const FIRST_TOKEN: u32 = 100;

/// Outcome of a step.
#[derive(Clone, Copy)]
pub enum Turn {
    Run,
    Fail,
    Panic,
}

struct Fake {
    /// Receives the seeds of the sequences that a step decodes, before the step runs.
    entered: Sender<Vec<u64>>,
    /// Outcome of each step. Once the sender is gone, every step runs.
    turns: Receiver<Turn>,
    chosen: Vec<Option<u32>>,
}

impl Executor for Fake {
    fn encode(&mut self, _: &Plan) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError> {
        if !plan.is_empty() {
            let _ = self.entered.send(plan.draws().map(|draw| draw.sampling.seed).collect());
            match self.turns.recv().unwrap_or(Turn::Run) {
                Turn::Run => {}
                Turn::Fail => return Err(ExecutorError { reason: "on purpose".to_owned() }),
                Turn::Panic => panic!("on purpose"),
            }
        }
        let token = |draw: &kernels::Draw| (draw.sampling.seed != BROKEN).then_some(FIRST_TOKEN + draw.position);
        self.chosen = plan.draws().map(token).collect();
        Ok(())
    }

    fn draw(&mut self, _: &Plan) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn page_pieces(&self) -> PagePieces {
        PagePieces::ONE
    }

    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError> {
        chosen.append(&mut self.chosen);
        Ok(())
    }

    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>) {
        // The state of a source is its first token.
        let state = |token| if token == UNSCORED { f32::NAN } else { token as f32 };
        out.extend(work.asked().into_iter().map(|ask| vec![state(work.tokens[ask.segment.start as usize])]));
    }

    fn best(&self, asked: &[BestAsk], _: &DrawRules, _: &mut Vec<Vec<Candidate>>) {
        assert!(asked.is_empty(), "no test asks it for a beam search");
    }

    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>) {
        let log_prob = |id: u32| if id == UNSCORED { f32::NAN } else { -1.0 };
        let score = |ask: &ScoreAsk| Candidate { id: ask.id, log_prob: log_prob(ask.id), rank: 0 };
        out.extend(asked.iter().map(|ask| TokenScore { chosen: score(ask), top: Vec::new() }));
    }
}

/// An engine on such a model.
pub struct FakeEngine {
    pub engine: Engine,
    pub metrics: Arc<EngineMetrics>,
    entered: Receiver<Vec<u64>>,
    turns: Sender<Turn>,
}

/// Limits in which the engines of the tests differ.
pub struct Room {
    pub queued_rows: u32,
    pub running_rows: usize,
}

impl FakeEngine {
    pub fn start(room: Room) -> Self {
        let (entered, entries) = channel();
        let (turns, receiver) = channel();
        let metrics = Arc::new(EngineMetrics::default());
        let steps = SchedulerLimits {
            pool: PoolSize { pages: 64, source_page_tokens: 16, pieces: PagePieces::ONE },
            running_rows: room.running_rows,
            call_rows: room.running_rows,
            step_rows: 8,
            step_encoder_tokens: 64,
            draft_rows: 0,
            encoder: EncoderCost::undivided(1),
        };
        let limits = EngineLimits {
            queued_rows: room.queued_rows,
            wait: server::overload::WaitLimits::default(),
            source_tokens: 64,
            target_tokens: 64,
            classes: 0,
            writes_alone: false,
            exact_steps: 0,
            masks: MaskLimits::default(),
            steps,
        };
        let tokens = BoundaryTokens { start: 2, end: vec![1], vocabulary: 1000 };
        let settings = EngineSettings { limits, tokens, metrics: Arc::clone(&metrics) };
        let engine = Engine::start(Box::new(Fake { entered, turns: receiver, chosen: Vec::new() }), settings).unwrap();
        Self { engine, metrics, entered: entries, turns }
    }

    /// Submits a request; seed and source identify it.
    pub fn submit(&self, seed: u64, max_tokens: u32, choices: u32) -> Generation {
        let slot = self.engine.handle.reserve(Salt::default(), 1).unwrap();
        self.engine.handle.submit(slot, request(seed, max_tokens, choices)).unwrap()
    }

    /// Waits until the engine is about to run a step, and returns the seeds that it decodes.
    pub fn next_step(&self) -> Vec<u64> {
        self.entered.recv_timeout(PATIENCE).expect("a step")
    }

    /// Decides the outcome of the step that [`Self::next_step`] returned.
    pub fn turn(&self, turn: Turn) {
        self.turns.send(turn).unwrap();
    }

    /// Lets everything run from now on.
    pub fn run_free(self) -> (Engine, Arc<EngineMetrics>) {
        (self.engine, self.metrics)
    }
}

pub fn request(seed: u64, max_tokens: u32, choices: u32) -> GenerationRequest {
    let sampling = Sampling { seed, ..Sampling::GREEDY };
    let source = vec![u32::try_from(seed).unwrap(); 16];
    GenerationRequest { choices, ignore_end: true, sampling, ..GenerationRequest::new(source, max_tokens) }
}

/// All events of a generation but the one that says that its source is encoded, which is there or not by who asked for
/// the source before.
pub fn events(generation: &mut Generation) -> Vec<GenerationEvent> {
    let events = std::iter::from_fn(|| generation.blocking_next());
    events.filter(|event| *event != GenerationEvent::SourceReady).collect()
}

/// The tokens that the fake draws for one choice, from its start to its end.
pub fn whole(max_tokens: u32) -> Vec<GenerationEvent> {
    let tokens =
        (1..=max_tokens).map(|position| GenerationEvent::Token { choice: 0, id: FIRST_TOKEN + position, score: None });
    let started = GenerationEvent::Started { cached_tokens: 0 };
    let finished = GenerationEvent::Finished { choice: 0, reason: server::request::FinishReason::Length };
    std::iter::once(started).chain(tokens).chain([finished]).collect()
}

/// Joins an engine that has to end.
pub fn join(engine: Engine) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        engine.join();
        let _ = done.send(());
    });
    ended.recv_timeout(PATIENCE.min(Duration::from_secs(20))).expect("the engine ends");
}
