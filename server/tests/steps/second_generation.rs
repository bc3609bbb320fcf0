//! Merged attention in the continuous batch: in every precision, on any number of threads, with few pages and with
//! neighbours that leave, each request gets what it gets alone, and every page comes back.

use kernels::cpu::{Cpu, Isa};
use kernels::{KvFormat, Precision, Sampling, Scheme};
use model::{Arithmetic, Checkpoint, Model, ModelConfig};
use server::engine::{MaskLimits, ModelExecutor};
use server::request::{GenerationEvent, GenerationRequest};

use crate::beams::folder;
use crate::demo_engine::{Answer, DemoEngine, LIMITS, Room, read};

const PAIRS: [&str; 2] = ["t5gemma2-tiny", "t5gemma2-scaled"];
/// Pages that hold a few of the requests at once.
const SCARCE: usize = 20;
const TOKENS: u32 = 40;

/// Every precision, with the keys and values of sources in its own format and in 8 bits.
fn arithmetics() -> Vec<Arithmetic> {
    let mut all = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        for quantize in [None, Some(Scheme::Int8), Some(Scheme::Int4)] {
            for cross_kv in [precision.into(), KvFormat::Int8] {
                all.push(Arithmetic { precision, quantize, cross_kv });
            }
        }
    }
    all
}

fn engine(pair: &str, arithmetic: Arithmetic, pages: usize, threads: usize) -> DemoEngine {
    let checkpoint = Checkpoint::open(&folder(pair)).unwrap();
    let config: ModelConfig = checkpoint.config().clone();
    let model = Model::load(Cpu::new(Isa::detect(), threads), &checkpoint, arithmetic, &mut |_| ()).unwrap();
    let source_page_tokens = arithmetic.cross_kv.page_tokens();
    let room = Room { pages, source_page_tokens, rows: 8, masks: MaskLimits::default() };
    DemoEngine::of(&config, Box::new(ModelExecutor::new(model, pages, LIMITS).unwrap()), room)
}

/// Requests about sources of several lengths, some longer than a batch of the encoder and some without a token; every
/// second one is sampled.
fn requests() -> Vec<GenerationRequest> {
    let request = |(index, length): (u32, u32)| {
        let source: Vec<u32> = (0..length).map(|place| 10 + (place * 37 + index * 11) % 480).collect();
        let sampled = Sampling { temperature: 0.9, seed: u64::from(index), ..Sampling::GREEDY };
        let sampling = if index % 2 == 0 { Sampling::GREEDY } else { sampled };
        let decoder_prompt = (0..index % 3 * 7).map(|place| 20 + place).collect();
        GenerationRequest {
            sampling,
            decoder_prompt,
            ignore_end: true,
            ..GenerationRequest::new(source, TOKENS - index % 4)
        }
    };
    (0..).zip([30, 0, 5, 100, 17, 64, 0, 33, 1, 80]).map(request).collect()
}

/// Answers of requests that run together, while every third of as many others leaves after some tokens.
fn beside_leavers(engine: &DemoEngine, requests: &[GenerationRequest]) -> Vec<Answer> {
    let mut running = Vec::new();
    let mut leavers = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let source: Vec<u32> = (0..40).map(|place| 300 + (place * 7 + index as u32) % 90).collect();
        let leaver = GenerationRequest { ignore_end: true, ..GenerationRequest::new(source, TOKENS) };
        leavers.push((index, engine.submit(&leaver)));
        running.push((engine.submit(request), request));
    }
    for (after, mut leaver) in leavers {
        let mut tokens = 0;
        while tokens < after {
            match leaver.blocking_next() {
                Some(GenerationEvent::Token { .. }) => tokens += 1,
                Some(GenerationEvent::Failed { message, .. }) => panic!("{message}"),
                Some(_) => {}
                None => panic!("an answer of {TOKENS} tokens ended after {tokens}"),
            }
        }
        // The client leaves in the middle of its answer.
        drop(leaver);
    }
    running.into_iter().map(|(generation, request)| read(generation, request.choices)).collect()
}

#[test]
fn in_every_precision_requests_get_what_they_get_alone_whoever_leaves_and_however_few_pages_there_are() {
    let requests = requests();
    for pair in PAIRS {
        for arithmetic in arithmetics() {
            let name = format!("{pair}, {arithmetic:?}");
            let alone = engine(pair, arithmetic, 200, 1).one_by_one(&requests);
            for threads in [1, 2] {
                let scarce = engine(pair, arithmetic, SCARCE, threads);
                assert_eq!(scarce.together(&requests), alone, "{name}, {threads} threads");
                assert!(scarce.preemptions() > 0, "{name}: pages are scarce");
                assert_eq!(beside_leavers(&scarce, &requests), alone, "{name}, {threads} threads, beside leavers");
                assert_eq!(scarce.pages_when_idle(), SCARCE, "{name}: nobody holds a page");
            }
        }
    }
}
