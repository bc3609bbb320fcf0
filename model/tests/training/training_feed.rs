//! Batches as the trainer asks for them: every row once an epoch, within the budget, by position alone.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use model::Tokenizer;
use model::training::data::{BatchSettings, DataSet, Feed, Position, Reading};
use model::training::objective::{Ingredients, ModelTokens, Reader, Recipe};
use model::training::settings::{BadRows, DataSettings, DenoiserMix, Objective, Packing};
use model::training::{Batch, Error, Example};
use proptest::prelude::*;
use tempfile::TempDir;

const TOKENIZER: &[u8] = include_bytes!("../../demo/tokenizer.json");

/// Settings of a feed, with defaults.
struct Plan {
    objective: Objective,
    reader: Reader,
    data: DataSettings,
    seed: u64,
}

impl Plan {
    fn new(objective: Objective, reader: Reader) -> Self {
        let data = DataSettings {
            train: Vec::new(),
            valid: Vec::new(),
            bad_rows: BadRows::Fail,
            cache: None,
            max_source_tokens: 64,
            max_target_tokens: 32,
            packing: Packing::Rows,
            max_text_tokens: 64,
            batch_tokens: 200,
            accumulate: 1,
        };
        Self { objective, reader, data, seed: 1 }
    }

    fn try_feed(&self, rows: &str) -> Result<Feed, Error> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("rows.jsonl");
        fs::write(&file, rows).unwrap();
        let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
        let tokens = ModelTokens { start: 2, end: vec![1], source_vocab: 4096, target_vocab: 4096 };
        let recipe = Recipe::new(Ingredients {
            objective: &self.objective,
            data: &self.data,
            tokenizer: Some(&tokenizer),
            reader: self.reader,
            tokens: &tokens,
        })?;
        let how = Reading {
            kind: Recipe::row_kind(&self.objective),
            tokenizer: Some(&tokenizer),
            source_vocab: tokens.source_vocab,
            target_vocab: tokens.target_vocab,
            labels: None,
            bad_rows: BadRows::Fail,
        };
        let data = DataSet::open(&[file], &how, folder.path(), &mut |_| ())?;
        Feed::new(data, Arc::new(recipe), BatchSettings::from(&self.data), self.seed)
    }

    fn feed(&self, rows: &str) -> Feed {
        self.try_feed(rows).unwrap()
    }
}

fn seq2seq() -> Objective {
    Objective::Seq2seq { separator: "\n\n".to_owned() }
}

fn ul2() -> Objective {
    let sentinels = ["~", "}", "{", "|"].map(str::to_owned).to_vec();
    Objective::Ul2 { mix: Some(DenoiserMix::Ul2), sentinels, mode_tokens: Some(Vec::new()) }
}

/// Rows of ids, of which the first tells the row.
fn pairs(lens: &[usize]) -> String {
    let ids = |row: usize, len| [vec![100 + row], vec![9; len]].concat();
    let line = |(row, &len): (usize, &usize)| {
        format!("{{\"input_ids\": {:?}, \"target_ids\": {:?}}}\n", ids(row, len), ids(row, len / 4))
    };
    lens.iter().enumerate().map(line).collect()
}

/// The batches of an epoch, from its start to the position after it.
fn epoch(feed: &mut Feed, number: u64) -> Vec<Batch> {
    let mut position = Position { epoch: number, batch: 0 };
    let mut batches = Vec::new();
    while position.epoch == number {
        let (batch, next) = feed.batch(position).unwrap();
        batches.push(batch);
        position = next;
    }
    assert_eq!(
        (position, batches.len() as u64),
        (Position { epoch: number + 1, batch: 0 }, feed.epoch_batches(number).unwrap())
    );
    batches
}

/// The rows of batches, by their first id.
fn rows(batches: &[Batch]) -> Vec<u32> {
    let row = |example: &Example| match example {
        Example::Pair { source, .. } | Example::Labelled { source, .. } => source[0] - 100,
    };
    batches.iter().flat_map(|batch| batch.examples.iter().map(row)).collect()
}

fn sides(example: &Example) -> (&[u32], &[u32]) {
    match example {
        Example::Pair { source, target } => (source, target),
        Example::Labelled { .. } => panic!("a pair"),
    }
}

fn text(ids: &[u32]) -> String {
    let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
    ids.iter().map(|&id| String::from_utf8(tokenizer.piece_bytes(id).unwrap().to_vec()).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_epoch_has_every_row_once_in_batches_within_the_budget(
        lens in prop::collection::vec(0_usize..80, 1..300), batch_tokens in 1_usize..400, seed: u64,
    ) {
        let mut plan = Plan::new(seq2seq(), Reader::EncoderDecoder);
        (plan.data.batch_tokens, plan.seed) = (batch_tokens, seed);
        let mut feed = plan.feed(&pairs(&lens));
        for number in 0..2 {
            let batches = epoch(&mut feed, number);
            for batch in &batches {
                prop_assert!(!batch.examples.is_empty());
                prop_assert!(batch.tokens() <= batch_tokens || batch.examples.len() == 1);
            }
            let mut rows = rows(&batches);
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lens.len() as u32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_order_follows_from_seed_and_epoch_and_any_position_can_be_resumed() {
    let lens: Vec<usize> = (0..400).map(|row| row * 7 % 60).collect();
    let mut plan = Plan::new(seq2seq(), Reader::EncoderDecoder);
    let first = epoch(&mut plan.feed(&pairs(&lens)), 3);
    let mut feed = plan.feed(&pairs(&lens));
    for (number, expected) in first.iter().enumerate().rev() {
        let (batch, _) = feed.batch(Position { epoch: 3, batch: number as u64 }).unwrap();
        assert_eq!(&batch, expected);
    }
    assert_ne!(rows(&first), rows(&epoch(&mut feed, 4)), "another epoch, another order");
    plan.seed = 2;
    assert_ne!(rows(&first), rows(&epoch(&mut plan.feed(&pairs(&lens)), 3)), "another seed, another order");
    let error = feed.batch(Position { epoch: 0, batch: 9999 }).unwrap_err();
    assert!(matches!(error, Error::Position { epoch: 0, batch: 9999, .. }), "{error}");
}

#[test]
fn rows_of_a_batch_are_of_similar_length_and_batches_come_in_no_order_of_length() {
    let lens: Vec<usize> = (0..1000).map(|row| row * 7919 % 60).collect();
    let batches = epoch(&mut Plan::new(seq2seq(), Reader::EncoderDecoder).feed(&pairs(&lens)), 0);
    let spread = |batch: &Batch| {
        let sizes: BTreeSet<_> = batch.examples.iter().map(Example::tokens).collect();
        sizes.last().unwrap() - sizes.first().unwrap()
    };
    let wide = batches.iter().filter(|batch| spread(batch) > 10).count();
    assert!(wide * 50 <= batches.len(), "{wide} of {}", batches.len());
    let means: Vec<_> = batches.iter().map(|batch| batch.tokens() / batch.examples.len()).collect();
    let rising = means.windows(2).filter(|pair| pair[0] <= pair[1]).count();
    assert!((means.len() / 3..means.len() * 2 / 3).contains(&rising), "{rising} of {}", means.len());
    let filled = batches.iter().map(Batch::tokens).sum::<usize>() * 100 / (batches.len() * 200);
    assert!(filled > 75, "{filled} % of the budget is used");
}

#[test]
fn a_target_has_an_end_and_a_source_what_the_tokenizer_adds() {
    let rows = "{\"input\": \"a small program\", \"target\": \"program\"}\n";
    let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
    let served = tokenizer.encode_with_special_tokens("a small program").unwrap();
    let target = [&tokenizer.encode("program").unwrap()[..], &[1]].concat();
    let [batch] = &Plan::new(seq2seq(), Reader::EncoderDecoder).feed(rows).validation_batches(0).unwrap()[..] else {
        panic!()
    };
    assert_eq!(batch.examples, [Example::Pair { source: served.clone(), target: target.clone() }]);

    let [batch] = &Plan::new(seq2seq(), Reader::DecoderOnly).feed(rows).validation_batches(0).unwrap()[..] else {
        panic!()
    };
    let source = [&served[..], &tokenizer.encode("\n\n").unwrap()].concat();
    assert_eq!(batch.examples, [Example::Pair { source, target }]);

    let rows = "{\"input\": \"b\", \"label\": \"y\"}\n{\"input\": \"a small program\", \"label\": \"x\"}\n";
    let classify = Objective::Classify { labels: Vec::new() };
    for reader in [Reader::EncoderDecoder, Reader::DecoderOnly] {
        let [batch] = &Plan::new(classify.clone(), reader).feed(rows).validation_batches(0).unwrap()[..] else {
            panic!()
        };
        assert_eq!(batch.examples[1], Example::Labelled { source: served.clone(), label: 0 });
        assert_eq!(batch.tokens(), served.len() + tokenizer.encode_with_special_tokens("b").unwrap().len());
    }
}

#[test]
fn validation_keeps_the_order_of_the_file_and_is_the_same_in_every_run() {
    let lens: Vec<usize> = (0..50).map(|row| row * 7 % 60).collect();
    let mut plan = Plan::new(seq2seq(), Reader::EncoderDecoder);
    let all = plan.feed(&pairs(&lens)).validation_batches(0).unwrap();
    assert_eq!(rows(&all), (0..50).collect::<Vec<_>>());
    assert!(all.iter().all(|batch| batch.tokens() <= 200));
    assert_eq!(rows(&plan.feed(&pairs(&lens)).validation_batches(7).unwrap()), (0..7).collect::<Vec<_>>());
    plan.objective = ul2();
    let texts: String =
        (0..20).map(|row| format!("{{\"text\": \"number {row} is a text as good as any\"}}\n")).collect();
    let denoised = plan.feed(&texts).validation_batches(0).unwrap();
    plan.seed = 9;
    assert_eq!(denoised, plan.feed(&texts).validation_batches(0).unwrap());
}

#[test]
fn the_denoising_of_a_row_depends_on_no_other_row_but_on_the_epoch() {
    let text = |words: &str| format!("{{\"text\": \"{words}\"}}\n");
    let long = "a library for reading and writing many kinds of files that hold pictures and sound";
    let plan = Plan::new(ul2(), Reader::EncoderDecoder);
    let alone = plan.feed(&text(long));
    let others: String = (0..30).map(|row| text(&format!("another one, number {row}"))).collect();
    let among = plan.feed(&(text(long) + &others));
    assert_eq!(alone.validation_batches(1).unwrap(), among.validation_batches(1).unwrap());
    let mut feed = alone;
    let epochs: BTreeSet<String> = (0..10).map(|number| format!("{:?}", epoch(&mut feed, number))).collect();
    assert!(epochs.len() > 5, "{} ways", epochs.len());
}

#[test]
fn ul2_writes_sentinels_in_the_place_of_spans_and_counts_texts_that_lack_some() {
    let words = (0..60).map(|word| format!("w{word} ")).collect::<String>();
    let mut plan = Plan::new(ul2(), Reader::EncoderDecoder);
    plan.data.max_text_tokens = 400;
    let rows: String = (0..40).map(|_| format!("{{\"text\": \"{words}\"}}\n")).collect();
    let whole = Tokenizer::from_bytes(TOKENIZER).unwrap().encode(&words).unwrap();
    let feed = plan.feed(&rows);
    let batches = feed.validation_batches(0).unwrap();
    let examples: Vec<_> = batches.iter().flat_map(|batch| &batch.examples).collect();
    assert_eq!(examples.len(), 40);
    // Three of the seven denoisers ask for more than four spans.
    assert!((8..28).contains(&feed.recipe().short_of_sentinels()), "{}", feed.recipe().short_of_sentinels());
    for example in &examples {
        let (source, target) = sides(example);
        assert_eq!((source[0], target.last()), (2, Some(&1)));
        let (source, target) = (text(&source[1..]), text(&target[..target.len() - 1]));
        let spans = target.matches(['~', '}', '{', '|']).count();
        assert_eq!(source.matches(['~', '}', '{', '|']).count(), spans);
        if spans == 0 {
            assert_eq!(source + &target, text(&whole));
            continue;
        }
        let mut joined = String::new();
        let mut taken = target.split(['~', '}', '{', '|']).skip(1);
        for part in source.split(['~', '}', '{', '|']) {
            joined += part;
            joined += taken.next().unwrap_or("");
        }
        assert_eq!(joined, text(&whole));
    }
}

#[test]
fn packed_texts_fill_rows_exactly_and_lose_nothing_but_the_end_of_an_epoch() {
    // Text `t` has the ids 100t, 100t + 1, ...: where a token stands follows from it.
    let lens = [3, 1, 40, 17, 8, 25, 2, 31, 9, 12];
    let rows: String = lens
        .iter()
        .enumerate()
        .map(|(text, len)| {
            format!("{{\"input_ids\": {:?}}}\n", (100 * text + 100..100 * text + 100 + len).collect::<Vec<_>>())
        })
        .collect();
    let mut plan = Plan::new(Objective::Causal {}, Reader::DecoderOnly);
    (plan.data.packing, plan.data.max_text_tokens, plan.data.batch_tokens) = (Packing::Packed, 16, 17);
    let mut feed = plan.feed(&rows);
    let mut orders = BTreeSet::new();
    for number in 0..3 {
        let batches = epoch(&mut feed, number);
        assert_eq!(batches.len(), (148 + 10) / 16);
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        for batch in &batches {
            let [example] = &batch.examples[..] else { panic!("a batch holds one row") };
            let (source, target) = sides(example);
            assert_eq!((source, target.len()), (&[2][..], 16));
            for pair in target.windows(2) {
                let last = |id: u32| (id % 100) as usize + 1 == lens[(id / 100 - 1) as usize];
                let follows = match pair {
                    [1, next] => next % 100 == 0,
                    [id, 1] => last(*id),
                    [id, next] => !last(*id) && id + 1 == *next,
                    _ => false,
                };
                assert!(follows, "{target:?}");
            }
            seen.extend(target.iter().filter(|&&id| id != 1));
        }
        assert!(seen.len() >= 148 - 15 && seen.len() + 10 >= batches.len() * 16);
        orders.insert(format!("{batches:?}"));
    }
    assert_eq!(orders.len(), 3, "cut anew in each epoch");
    assert_eq!(plan.feed(&rows).validation_batches(2).unwrap().len(), 2);

    plan.data.max_text_tokens = 200;
    let error = plan.try_feed(&rows).unwrap_err();
    assert!(matches!(error, Error::TooLittleText { tokens: 158, row_tokens: 200 }), "{error}");
}

#[test]
fn packed_rows_are_split_in_halves_without_an_end() {
    let mut plan = Plan::new(Objective::PrefixLm {}, Reader::EncoderDecoder);
    (plan.data.packing, plan.data.max_text_tokens) = (Packing::Packed, 8);
    let feed = plan.feed("{\"input_ids\": [101, 102, 103]}\n{\"input_ids\": [201, 202, 203, 204, 205]}\n");
    let [batch] = &feed.validation_batches(0).unwrap()[..] else { panic!() };
    assert_eq!(batch.examples, [Example::Pair { source: vec![2, 101, 102, 103, 1], target: vec![201, 202, 203, 204] }]);
}
