//! Each target for a bounded number of inputs, in the same sequence in every run.

use std::time::{Duration, Instant};

use fuzz::{BODIES, CHAT_TEMPLATES, CONFIGS, CONNECTIONS, GRAMMARS, Mutator, TARGETS, TENSORS, TOKENIZERS, Target};

/// Longest time for one target, so that a slow machine tries fewer inputs instead of taking longer.
const TIME: Duration = Duration::from_secs(6);
/// Inputs of one target.
const INPUTS: u64 = 20_000;
/// Fewest inputs with which a run says anything.
const FEWEST: u64 = 50;

fn run(target: Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has seeds", target.name);
    seeds.iter().for_each(|seed| target.run(seed));
    let (start, mut mutator, mut count) = (Instant::now(), Mutator::new(1), 0);
    while count < INPUTS && (start.elapsed() < TIME || count < FEWEST) {
        target.run(&mutator.mutate(&seeds));
        count += 1;
    }
    println!("{}: {count} inputs in {:?}", target.name, start.elapsed());
}

#[test]
fn bodies_of_requests_are_answered_whatever_they_say() {
    run(BODIES);
}

#[test]
fn connections_are_answered_or_closed_whatever_is_written() {
    run(CONNECTIONS);
}

#[test]
fn a_tokenizer_file_is_read_or_refused() {
    run(TOKENIZERS);
}

#[test]
fn a_configuration_is_read_or_refused() {
    run(CONFIGS);
}

#[test]
fn a_file_of_tensors_is_opened_or_refused() {
    run(TENSORS);
}

#[test]
fn a_chat_template_is_rendered_or_refused() {
    run(CHAT_TEMPLATES);
}

#[test]
fn a_form_of_answers_is_followed_or_refused() {
    run(GRAMMARS);
}

#[test]
fn mutations_are_the_same_in_every_run_and_differ_from_their_seeds() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let (mut one, mut other) = (Mutator::new(7), Mutator::new(7));
        let inputs: Vec<_> = (0..50).map(|_| one.mutate(&seeds)).collect();
        assert!(inputs.iter().all(|input| *input == other.mutate(&seeds)));
        let changed = inputs.iter().filter(|input| !seeds.contains(input)).count();
        assert!(changed > 40, "{}: {changed} of 50", target.name);
    }
}
