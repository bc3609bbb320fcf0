//! Rows whose tokens the device drew: they decode as if the host had named the ids.

use crate::fixture::DemoRow;
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::{Draw, Draws, NO_PLACE, Precision};
use model::{Checkpoint, RowTokens};

#[test]
fn a_token_that_was_drawn_decodes_as_the_same_token_from_the_host() {
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &Checkpoint::embedded().unwrap(), Precision::F32, 2);
    let texts: Vec<DemoRow> = DemoRow::all().into_iter().take(2).collect();
    let sources: Vec<&[u32]> = texts.iter().map(|text| &text.input_ids[..]).collect();
    let (_, mut sequences) = runner.encode(&sources, usize::MAX);
    runner.step(&sequences, |_| 0);
    let mut drawn = runner.model.drawn(2).unwrap();
    runner.model.sample(Draws::free(&[0, 1].map(Draw::greedy)), &runner.space, &mut drawn);
    for (sequence, text) in sequences.iter_mut().zip(&texts) {
        sequence.tokens.push(text.greedy_ids[0]);
    }
    let rows = runner.rows(&sequences, |_| 1);
    runner.run(&rows);
    let from_host = runner.model.read_logits(2, &runner.space);

    let wrong = 0;
    let second = sequences[1].tokens[1];
    for (host, places) in [([wrong, wrong], [0, 1]), ([wrong, second], [0, NO_PLACE])] {
        runner.run_with(RowTokens::Drawn { host: &host, drawn: &drawn, places: &places }, &rows);
        assert!(runner.model.read_logits(2, &runner.space) == from_host, "places {places:?}");
    }
    runner.run_with(RowTokens::Drawn { host: &[wrong, wrong], drawn: &drawn, places: &[0, NO_PLACE] }, &rows);
    assert!(runner.model.read_logits(2, &runner.space) != from_host, "without a place the host's token counts");
}
