//! An engine on the demo, requests of several kinds, and their answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::{Backend, Precision, Sampling};
use model::config::Generation as ModelGeneration;
use model::{Checkpoint, EncoderCost, Model, ModelConfig, Tokenizer, WorkspaceLimits};
use server::engine::{
    Encoding, Engine, EngineLimits, EngineSettings, Executor, Generation, MaskLimits, StepExecutor, StepSizes,
};
use server::request::{EncodeRequest, EncodingEvent, GenerationEvent, GenerationRequest, Readout, Salt};
use server::scheduler::{BoundaryTokens, PoolSize, SchedulerLimits};
use server::telemetry::EngineMetrics;

pub const PAGES: usize = 64;
pub const STEP_ROWS: usize = 24;
pub const LIMITS: WorkspaceLimits =
    WorkspaceLimits { lane_rows: [64, 256], target_rows: STEP_ROWS, logits_rows: STEP_ROWS };
/// Sizes that steps are padded to; the last one exceeds the largest step, which takes its place.
pub const SIZES: [usize; 3] = [1, 4, 64];

/// The demo on a backend.
pub fn load<B: Backend>(backend: B, precision: Precision) -> Model<B> {
    Model::load(backend, &Checkpoint::embedded().unwrap(), precision, &mut |_| ()).unwrap()
}

/// An executor that pads steps, runs ahead and replays what it can.
pub fn step_executor<B: Backend>(backend: B, precision: Precision) -> StepExecutor<B> {
    let sizes = StepSizes { rows: SIZES.to_vec(), source_tokens: 150, target_tokens: 20 };
    StepExecutor::new(load(backend, precision), PAGES, LIMITS, &sizes).unwrap()
}

/// Requests of several kinds. Some end by themselves.
pub fn requests(max_tokens: u32) -> Vec<GenerationRequest> {
    let json = Checkpoint::embedded().unwrap().tokenizer_json().unwrap().unwrap();
    let tokenizer = Tokenizer::from_bytes(&json).unwrap();
    let asks = |text: &str| GenerationRequest::new(tokenizer.encode_with_special_tokens(text).unwrap(), max_tokens);
    let sampling = Sampling { temperature: 0.8, top_k: 50, top_p: 0.9, min_p: 0.0, seed: 5 };
    let theme = "This is the default icon theme for the KDE Plasma 5 desktop.\n\
                 This package is part of the Breeze theme module.";
    let library = "A small library to read configuration files, with bindings for Python.";
    let decoder_prompt = tokenizer.encode("default icon").unwrap();
    vec![
        asks("This package contains the header files."),
        GenerationRequest { choices: 2, sampling, ..asks(library) },
        GenerationRequest { ignore_end: true, ..asks("Icons") },
        // The rows of the decoder prompt run in one step.
        GenerationRequest { decoder_prompt, sampling, ..asks(theme) },
        GenerationRequest { log_probs: Some(2), ..asks("Tool to convert images between formats.") },
        GenerationRequest { sampling, ..asks("Documentation for developers who want to write plugins in C.") },
    ]
}

/// Encoder requests of several kinds, some of them longer than a batch.
pub fn encodings() -> Vec<EncodeRequest> {
    let readouts = [Readout::Mean, Readout::EveryToken, Readout::LastToken];
    let lengths = [5, 30, 200, 64, 65, 1, 130, 12];
    let request = |(length, readout): (u32, Readout)| EncodeRequest {
        source: (0..length).map(|index| 10 + (index * 37 + length) % 4000).collect(),
        readout,
    };
    lengths.into_iter().zip(readouts.into_iter().cycle()).map(request).collect()
}

/// An engine, drained and joined when it is dropped.
pub struct DemoEngine {
    engine: Option<Engine>,
    metrics: Arc<EngineMetrics>,
}

/// Room of an engine.
#[derive(Clone, Copy)]
pub struct Room {
    pub pages: usize,
    /// Source tokens of a page.
    pub source_page_tokens: usize,
    /// Most sequences that run at once.
    pub rows: usize,
    pub masks: MaskLimits,
}

/// Tokens of each choice of a request.
pub type Answer = Vec<Vec<u32>>;

impl DemoEngine {
    pub fn start(executor: impl Executor + 'static) -> Self {
        Self::with_masks(Box::new(executor), MaskLimits::default())
    }

    /// An engine that gives constraints this much time.
    pub fn with_masks(executor: Box<dyn Executor>, masks: MaskLimits) -> Self {
        let room = Room { pages: PAGES, source_page_tokens: 16, rows: 8, masks };
        Self::of(Checkpoint::embedded().unwrap().config(), executor, room)
    }

    /// An engine on a model with this configuration.
    pub fn of(config: &ModelConfig, executor: Box<dyn Executor>, room: Room) -> Self {
        let steps = SchedulerLimits {
            pool: PoolSize {
                pages: room.pages,
                source_page_tokens: room.source_page_tokens,
                pieces: executor.page_pieces(),
            },
            running_rows: room.rows,
            call_rows: room.rows,
            step_rows: STEP_ROWS.max(room.rows),
            step_encoder_tokens: 64,
            draft_rows: 16,
            encoder: EncoderCost::of(&config.encoder),
        };
        let limits = EngineLimits {
            queued_rows: 64,
            wait: server::overload::WaitLimits::default(),
            source_tokens: 256,
            target_tokens: 64,
            classes: 0,
            writes_alone: config.decoder.generation == ModelGeneration::Gemma3,
            exact_steps: 0,
            masks: room.masks,
            steps,
        };
        let tokens = BoundaryTokens {
            start: config.start_token,
            end: config.end_tokens.clone(),
            vocabulary: config.decoder.vocab as u32,
        };
        let metrics = Arc::<EngineMetrics>::default();
        let settings = EngineSettings { limits, tokens, metrics: Arc::clone(&metrics) };
        Self { engine: Some(Engine::start(executor, settings).unwrap()), metrics }
    }

    /// Sequences that were preempted so far.
    pub fn preemptions(&self) -> u64 {
        self.metrics.preemptions.get()
    }

    /// Pages that no request holds, once the engine has let go of requests that ended or were dropped.
    pub fn pages_when_idle(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.metrics.pages_held.get() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.metrics.pages_free.get() + self.metrics.pages_cached.get()) as usize
    }

    /// Rows that waited for their masks so far.
    pub fn late_masks(&self) -> u64 {
        self.metrics.late_masks.get()
    }

    /// Masks that were found so far.
    pub fn masks(&self) -> u64 {
        self.metrics.mask_seconds.get_sample_count()
    }

    /// Tokens that were drafted and right so far.
    pub fn accepted_draft_tokens(&self) -> u64 {
        self.metrics.accepted_draft_tokens.get()
    }

    /// Answers of requests that run together.
    pub fn together(&self, requests: &[GenerationRequest]) -> Vec<Answer> {
        let running: Vec<Generation> = requests.iter().map(|request| self.submit(request)).collect();
        running.into_iter().zip(requests).map(|(generation, request)| read(generation, request.choices)).collect()
    }

    /// Answers of requests that run one after the other.
    pub fn one_by_one(&self, requests: &[GenerationRequest]) -> Vec<Answer> {
        requests.iter().map(|request| read(self.submit(request), request.choices)).collect()
    }

    /// Results of encoder requests that run together.
    pub fn encoded(&self, requests: &[EncodeRequest]) -> Vec<Vec<f32>> {
        self.encode(requests).into_iter().map(result).collect()
    }

    /// Answers of requests of both kinds that run together.
    pub fn beside(&self, requests: &[GenerationRequest], encodings: &[EncodeRequest]) -> (Vec<Answer>, Vec<Vec<f32>>) {
        let running: Vec<Generation> = requests.iter().map(|request| self.submit(request)).collect();
        let results = self.encoded(encodings);
        let answers = running.into_iter().zip(requests).map(|(generation, request)| read(generation, request.choices));
        (answers.collect(), results)
    }

    fn encode(&self, requests: &[EncodeRequest]) -> Vec<Encoding> {
        let handle = &self.engine.as_ref().unwrap().handle;
        let mut slots = handle.reserve(Salt::default(), requests.len() as u32).unwrap();
        let encode = |request: &EncodeRequest| handle.encode(slots.split(1).unwrap(), request.clone()).unwrap();
        requests.iter().map(encode).collect()
    }

    /// Submits a request.
    pub fn submit(&self, request: &GenerationRequest) -> Generation {
        let handle = &self.engine.as_ref().unwrap().handle;
        handle.submit(handle.reserve(Salt::default(), 1).unwrap(), request.clone()).unwrap()
    }
}

impl Drop for DemoEngine {
    fn drop(&mut self) {
        let engine = self.engine.take().unwrap();
        engine.handle.drain();
        engine.join();
    }
}

fn result(mut encoding: Encoding) -> Vec<f32> {
    assert_eq!(encoding.blocking_next(), Some(EncodingEvent::Started));
    match encoding.blocking_next() {
        Some(EncodingEvent::Encoded { numbers }) => numbers,
        other => panic!("no result: {other:?}"),
    }
}

/// Tokens of each choice.
pub fn read(mut generation: Generation, choices: u32) -> Answer {
    let mut tokens = vec![Vec::new(); choices as usize];
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Token { choice, id, .. } => tokens[choice as usize].push(id),
            GenerationEvent::Failed { message, .. } => panic!("{message}"),
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Scored { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Rated { .. }
            | GenerationEvent::Finished { .. } => {}
        }
    }
    tokens
}
