//! The recipe by which rows become examples, made once from settings, tokenizer and the model's tokens.
//!
//! Made by the training run, used by `data::feed`, and by the server's evaluation for the sources of decoder-only
//! models. Sizes of examples are known without making them, so that batches can be planned from row lengths.

use std::sync::atomic::{AtomicU64, Ordering};

use super::denoiser::{Denoising, Split};
use super::frame::{SourceFrame, TargetFrame};
use super::pieces::{DenoisingPieces, Wanted};
use crate::config::DenoisingTokens;
use crate::tokenizer::Tokenizer;
use crate::training::data::{Row, RowKind};
use crate::training::draws::{Draws, Purpose};
use crate::training::error::{Error, Result};
use crate::training::example::Example;
use crate::training::settings::{DataSettings, Objective};

/// The stack that reads the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The encoder.
    EncoderDecoder,
    /// The stack that also writes the target, after the source.
    DecoderOnly,
}

/// Tokens that the model's configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTokens {
    /// First token that a decoder reads (`<bos>`).
    pub start: u32,
    /// Tokens that end a target, at least one; the first is appended to targets.
    pub end: Vec<u32>,
    /// Size of the source's vocabulary: ids are below it.
    pub source_vocab: usize,
    /// Size of the target's vocabulary: ids are below it.
    pub target_vocab: usize,
}

/// Everything from which a recipe is made.
#[derive(Debug, Clone, Copy)]
pub struct Ingredients<'a> {
    /// Objective of the training, with the defaults of the model's generation.
    pub objective: &'a Objective,
    /// Longest sources, targets and texts.
    pub data: &'a DataSettings,
    /// Tokenizer of the model; not needed for rows of ids, except for `ul2`.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The stack that reads the source.
    pub reader: Reader,
    /// Special tokens and vocabularies of the model.
    pub tokens: &'a ModelTokens,
}

/// Makes rows into examples.
#[derive(Debug)]
pub struct Recipe {
    task: Task,
    source: SourceFrame,
    target: TargetFrame,
    start: u32,
    short_of_sentinels: AtomicU64,
}

#[derive(Debug)]
enum Task {
    Causal,
    PrefixLm,
    Denoise(Denoising),
    Seq2seq,
    Classify,
}

/// A text, or a stretch of packed ones.
#[derive(Debug, Clone)]
pub(in crate::training) struct Text {
    /// Its tokens, at least one.
    pub ids: Vec<u32>,
    /// Whether the text ends with them, so that an end token follows.
    pub is_whole: bool,
}

/// Key on which the denoising of a text depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::training) struct DrawKey {
    pub seed: u64,
    pub epoch: u64,
    /// Number of the text.
    pub index: u64,
}

impl Recipe {
    /// Makes a recipe.
    ///
    /// # Errors
    /// [`Error::Settings`] with every problem.
    pub fn new(of: Ingredients<'_>) -> Result<Self> {
        let Ingredients { objective, data, tokenizer, reader, tokens } = of;
        let mut problems = Vec::new();
        if matches!(objective, Objective::Causal {}) && reader == Reader::EncoderDecoder {
            problems.push(
                "objective.kind = \"causal\" is for decoder-only models; take \"prefix_lm\" or \"ul2\"".to_owned(),
            );
        }
        let task = Task::of(&of).map_err(|found| problems.extend(found)).ok();
        let source = source_frame(&of)?;
        let around = source.before.len() + source.after.len();
        if around >= data.max_source_tokens {
            problems
                .push(format!("data.max_source_tokens must be above {around}, the tokens that stand around a source"));
        }
        let vocab = tokens.source_vocab.min(tokens.target_vocab);
        if let Some(highest) = tokenizer.map(Tokenizer::max_id).filter(|&id| id as usize >= vocab) {
            problems.push(format!(
                "model.tokenizer: its highest id {highest} is outside the model's vocabulary of {vocab}"
            ));
        }
        let Some(task) = task.filter(|_| problems.is_empty()) else { return Err(Error::Settings { problems }) };
        let target = TargetFrame { end: tokens.end.clone(), max_tokens: data.max_target_tokens };
        Ok(Self { task, source, target, start: tokens.start, short_of_sentinels: AtomicU64::new(0) })
    }

    /// Kind of rows that an objective takes.
    pub fn row_kind(objective: &Objective) -> RowKind {
        match objective {
            Objective::Causal {} | Objective::PrefixLm {} | Objective::Ul2 { .. } => RowKind::Text,
            Objective::Seq2seq { .. } => RowKind::Pair,
            Objective::Classify { .. } => RowKind::Labelled,
        }
    }

    /// Number of texts so far that wanted more spans than there are sentinels.
    pub fn short_of_sentinels(&self) -> u64 {
        self.short_of_sentinels.load(Ordering::Relaxed)
    }

    /// The tokens by which the trained model is asked for a span; `None` for objectives without spans.
    pub(in crate::training) fn denoising_tokens(&self) -> Option<DenoisingTokens> {
        match &self.task {
            Task::Denoise(denoising) => Some(denoising.tokens()),
            _ => None,
        }
    }

    /// The token that ends a target, and separates packed texts.
    pub(in crate::training) fn end_token(&self) -> u32 {
        self.target.end()
    }

    /// Tokens that a model reads before it writes the target, for an input whose text has the tokens `ids`.
    pub fn source(&self, ids: &[u32]) -> Vec<u32> {
        self.source.around(ids.iter().copied(), false)
    }

    /// The example of a row of pairs or labels.
    pub(in crate::training) fn example(&self, row: Row<'_>) -> Example {
        let source = self.source.around(row.source.iter(), row.written_as_ids);
        match self.task {
            Task::Classify => Example::Labelled { source, label: row.label },
            _ => Example::Pair { source, target: self.target.ended(row.target) },
        }
    }

    /// Number of tokens of [`Self::example`].
    pub(in crate::training) fn size(&self, row: Row<'_>) -> usize {
        let source = self.source.len_of(row.source.len(), row.written_as_ids);
        match self.task {
            Task::Classify => source,
            _ => source + self.target.len_of(row.target),
        }
    }

    /// Whether [`Self::example`] cuts the source, and whether it cuts the target.
    pub(in crate::training) fn cuts(&self, row: Row<'_>) -> (bool, bool) {
        let is_source_cut = self.source.cuts(row.source.len(), row.written_as_ids);
        (is_source_cut, !matches!(self.task, Task::Classify) && self.target.cuts(row.target))
    }

    /// The example of a text.
    pub(in crate::training) fn text_example(&self, text: &Text, key: DrawKey) -> Example {
        let mut draws = key.draws();
        let split = self.split(text.ids.len(), &mut draws);
        self.short_of_sentinels.fetch_add(u64::from(split.is_short), Ordering::Relaxed);
        let sides = split.sides(&text.ids, self.sentinels(), &mut draws);
        let mut source = [&self.source.before, split.mode.as_slice(), &sides.source, &self.source.after].concat();
        if source.is_empty() {
            source.push(self.start);
        }
        let mut target = sides.target;
        target.extend(split.is_ended(text.is_whole).then(|| self.target.end()));
        Example::Pair { source, target }
    }

    /// Number of tokens of [`Self::text_example`].
    pub(in crate::training) fn text_size(&self, len: usize, is_whole: bool, key: DrawKey) -> usize {
        let split = self.split(len, &mut key.draws());
        let around = self.source.before.len() + self.source.after.len() + usize::from(split.mode.is_some());
        let source = (around + len - split.noise + split.spans).max(1);
        source + split.noise + split.spans + usize::from(split.is_ended(is_whole))
    }

    fn split(&self, len: usize, draws: &mut Draws) -> Split {
        match &self.task {
            Task::Denoise(denoising) => denoising.split(len, draws),
            Task::PrefixLm => Split::end(len - len / 2),
            Task::Causal | Task::Seq2seq | Task::Classify => Split::end(len),
        }
    }

    fn sentinels(&self) -> &[u32] {
        match &self.task {
            Task::Denoise(denoising) => denoising.sentinels(),
            _ => &[],
        }
    }
}

impl DrawKey {
    fn draws(self) -> Draws {
        Draws::new(self.seed, Purpose::Denoising, self.epoch, self.index)
    }
}

impl Task {
    fn of(ingredients: &Ingredients<'_>) -> std::result::Result<Self, Vec<String>> {
        let Ingredients { objective, tokenizer, tokens, .. } = *ingredients;
        Ok(match objective {
            Objective::Causal {} => Self::Causal,
            Objective::PrefixLm {} => Self::PrefixLm,
            Objective::Seq2seq { .. } => Self::Seq2seq,
            Objective::Classify { .. } => Self::Classify,
            Objective::Ul2 { mix, sentinels, mode_tokens } => {
                let mix = mix.unwrap_or_default();
                let missing = || vec!["objective.kind = \"ul2\" needs a tokenizer: set model.tokenizer".to_owned()];
                let wanted = Wanted {
                    mix,
                    sentinels,
                    mode_tokens: mode_tokens.as_deref(),
                    vocab: tokens.source_vocab.min(tokens.target_vocab),
                };
                let pieces = DenoisingPieces::find(tokenizer.ok_or_else(missing)?, wanted)?;
                Self::Denoise(Denoising::new(mix, pieces))
            }
        })
    }
}

/// Frame of sources, the same in training as in serving.
fn source_frame(of: &Ingredients<'_>) -> Result<SourceFrame> {
    let (before, after) = of.tokenizer.map_or((&[][..], &[][..]), Tokenizer::around);
    let max_tokens = of.data.max_source_tokens;
    if of.reader == Reader::EncoderDecoder {
        return Ok(SourceFrame { before: before.to_vec(), after: after.to_vec(), max_tokens });
    }
    let before = if before.is_empty() { vec![of.tokens.start] } else { before.to_vec() };
    let after = match (of.objective, of.tokenizer) {
        (Objective::Seq2seq { separator }, Some(tokenizer)) => tokenizer.encode(separator)?,
        _ => Vec::new(),
    };
    Ok(SourceFrame { before, after, max_tokens })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::training::data::Ids;
    use crate::training::settings::{BadRows, DenoiserMix, Packing};

    fn data() -> DataSettings {
        DataSettings {
            train: Vec::new(),
            valid: Vec::new(),
            bad_rows: BadRows::Fail,
            cache: None,
            max_source_tokens: 40,
            max_target_tokens: 10,
            packing: Packing::Rows,
            max_text_tokens: 64,
            batch_tokens: 100,
            accumulate: 1,
        }
    }

    fn demo_tokenizer() -> Tokenizer {
        Tokenizer::from_bytes(include_bytes!("../../../demo/tokenizer.json")).unwrap()
    }

    fn recipe(objective: &Objective, reader: Reader) -> Recipe {
        let tokens = ModelTokens { start: 2, end: vec![1, 107], source_vocab: 4096, target_vocab: 4096 };
        let (data, tokenizer) = (data(), demo_tokenizer());
        Recipe::new(Ingredients { objective, data: &data, tokenizer: Some(&tokenizer), reader, tokens: &tokens })
            .unwrap()
    }

    fn ul2(mix: DenoiserMix) -> Objective {
        let sentinels = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        Objective::Ul2 { mix: Some(mix), sentinels, mode_tokens: Some(["x", "y", "z"].map(str::to_owned).to_vec()) }
    }

    fn on_texts() -> impl Strategy<Value = (Objective, Reader)> {
        prop_oneof![
            Just((Objective::Causal {}, Reader::DecoderOnly)),
            Just((Objective::PrefixLm {}, Reader::DecoderOnly)),
            Just((Objective::PrefixLm {}, Reader::EncoderDecoder)),
            Just((ul2(DenoiserMix::Ul2), Reader::EncoderDecoder)),
            Just((ul2(DenoiserMix::T5gemma2), Reader::DecoderOnly)),
        ]
    }

    fn bytes(ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_text_has_the_size_that_was_planned_for_it(
            of in on_texts(), lens in prop::collection::vec(1_usize..90, 20), is_whole: bool, index: u64,
        ) {
            let recipe = recipe(&of.0, of.1);
            for (epoch, len) in lens.into_iter().enumerate() {
                let key = DrawKey { seed: 3, epoch: epoch as u64, index };
                let example = recipe.text_example(&Text { ids: vec![9; len], is_whole }, key);
                prop_assert_eq!(recipe.text_size(len, is_whole, key), example.tokens());
                prop_assert!(example.source_len() > 0 && example.target_len() > 0);
            }
        }
    }

    #[test]
    fn a_pair_has_the_size_that_was_planned_for_it() {
        let seq2seq = Objective::Seq2seq { separator: "\n\n".to_owned() };
        let all = [
            (&seq2seq, Reader::EncoderDecoder),
            (&seq2seq, Reader::DecoderOnly),
            (&Objective::Classify { labels: Vec::new() }, Reader::DecoderOnly),
        ];
        for (objective, reader) in all {
            let recipe = recipe(objective, reader);
            for (source, target) in [(1, 1), (30, 9), (36, 10), (37, 11), (50, 30)] {
                for (written_as_ids, last) in [(false, 9), (true, 9), (false, 1), (true, 107)] {
                    let (source, mut target) = (bytes(&vec![9; source]), vec![9; target]);
                    target.push(last);
                    let target = bytes(&target);
                    let (source, target) = (Ids::of_bytes(&source), Ids::of_bytes(&target));
                    let row = Row { source, target, label: 0, written_as_ids };
                    assert_eq!(recipe.size(row), recipe.example(row).tokens());
                }
            }
        }
    }

    #[test]
    fn halves_of_a_text_are_source_and_target() {
        let example = |objective: &Objective, reader, ids: &[u32], is_whole| {
            let text = Text { ids: ids.to_vec(), is_whole };
            match recipe(objective, reader).text_example(&text, DrawKey { seed: 0, epoch: 0, index: 0 }) {
                Example::Pair { source, target } => (source, target),
                Example::Labelled { .. } => panic!("a text has no label"),
            }
        };
        let halves = |ids: &[u32], is_whole| example(&Objective::PrefixLm {}, Reader::EncoderDecoder, ids, is_whole);
        assert_eq!(halves(&[11, 12, 13, 14], true), (vec![2, 11, 12], vec![13, 14, 1]));
        assert_eq!(halves(&[11, 12, 13], false), (vec![2, 11], vec![12, 13]));
        assert_eq!(halves(&[11], true), (vec![2], vec![11, 1]));
        let whole = example(&Objective::Causal {}, Reader::DecoderOnly, &[11, 12], true);
        assert_eq!(whole, (vec![2], vec![11, 12, 1]));
    }

    #[test]
    fn everything_that_does_not_fit_is_told_at_once() {
        let (mut data, tokenizer) = (data(), demo_tokenizer());
        data.max_source_tokens = 1;
        let tokens = ModelTokens { start: 2, end: vec![1], source_vocab: 4095, target_vocab: 4096 };
        let problems = |objective: &Objective, tokenizer| {
            let reader = Reader::EncoderDecoder;
            match Recipe::new(Ingredients { objective, data: &data, tokenizer, reader, tokens: &tokens }) {
                Err(Error::Settings { problems }) => problems.join("\n"),
                other => panic!("{other:?}"),
            }
        };
        let all = problems(&Objective::Causal {}, Some(&tokenizer));
        for part in ["decoder-only", "above 1, the tokens that stand around", "highest id 4095 is outside"] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(problems(&ul2(DenoiserMix::Ul2), None).contains("model.tokenizer"));
        let default = Objective::Ul2 { mix: None, sentinels: Vec::new(), mode_tokens: None };
        let all = problems(&default, Some(&tokenizer));
        assert!(all.contains("objective.mode_tokens: the tokenizer has 0 pieces <unusedN>"), "{all}");
        let sentinels = vec!["x".to_owned(), "nowhere".to_owned(), "x".to_owned()];
        let wrong = Objective::Ul2 { mix: Some(DenoiserMix::Ul2), sentinels, mode_tokens: Some(vec!["x".to_owned()]) };
        let all = problems(&wrong, Some(&tokenizer));
        for part in ["no piece \"nowhere\"", "\"x\" is named twice", "objective.mode_tokens: there are 1"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
