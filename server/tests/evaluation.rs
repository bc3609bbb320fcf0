//! The metrics against the packages that papers use: `scripts/metrics-fixture.py` wrote their figures.

#![allow(clippy::unwrap_used, reason = "clippy takes what reads the fixture for more than a test")]

use std::path::Path;

use serde::Deserialize;
use server::evaluation::{Bleu, Chrf, ChrfWords, Rouge, words_13a};

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Fixture {
    corpora: Vec<Corpus>,
}

#[derive(Deserialize)]
struct Corpus {
    name: String,
    #[serde(flatten)]
    figures: Figures,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    written: String,
    wanted: String,
    words: String,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    bleu: f64,
    chrf: f64,
    #[serde(rename = "chrf++")]
    chrf_words: f64,
    rouge1: f64,
    rouge2: f64,
    #[serde(rename = "rougeL")]
    rouge_l: f64,
}

impl Figures {
    /// Figures that `server::evaluation` computes from these rows.
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let (mut rouge, mut bleu) = (Rouge::default(), Bleu::default());
        let [mut chrf, mut chrf_words] = [ChrfWords::None, ChrfWords::Pairs].map(Chrf::new);
        for Row { written, wanted, .. } in rows {
            rouge.add(written, wanted);
            bleu.add(written, wanted);
            chrf.add(written, wanted);
            chrf_words.add(written, wanted);
        }
        let rouge = rouge.mean().expect("there are rows");
        Self {
            bleu: bleu.score(),
            chrf: chrf.score(),
            chrf_words: chrf_words.score(),
            rouge1: rouge.rouge1,
            rouge2: rouge.rouge2,
            rouge_l: rouge.rouge_l,
        }
    }

    fn all(&self) -> [f64; 6] {
        let Self { bleu, chrf, chrf_words, rouge1, rouge2, rouge_l } = *self;
        [bleu, chrf, chrf_words, rouge1, rouge2, rouge_l]
    }

    fn assert_near(&self, expected: &Self, of: &str) {
        let is_near = self.all().iter().zip(expected.all()).all(|(own, other)| (own - other).abs() < TOLERANCE);
        assert!(is_near, "{of}: {self:?}, not {expected:?}");
    }
}

fn corpora() -> Vec<Corpus> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics.json");
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(fixture.corpora.len(), 4);
    fixture.corpora
}

#[test]
fn every_row_has_the_figures_of_rouge_score_and_sacrebleu() {
    for row in corpora().iter().flat_map(|corpus| &corpus.rows) {
        Figures::of([row].into_iter()).assert_near(&row.figures, &format!("{:?} for {:?}", row.written, row.wanted));
    }
}

#[test]
fn every_corpus_has_the_figures_of_rouge_score_and_sacrebleu() {
    let corpora = corpora();
    for corpus in &corpora {
        let rows: Vec<&Row> = match corpus.name.as_str() {
            "all" => corpora.iter().flat_map(|corpus| &corpus.rows).collect(),
            _ => corpus.rows.iter().collect(),
        };
        Figures::of(rows.into_iter()).assert_near(&corpus.figures, &corpus.name);
    }
}

#[test]
fn texts_have_the_words_of_sacrebleus_tokeniser() {
    for row in corpora().iter().flat_map(|corpus| &corpus.rows) {
        assert_eq!(words_13a(&row.written).join(" "), row.words);
    }
}
