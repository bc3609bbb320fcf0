//! Infilling: a span between two texts, asked of a model that was trained to denoise (UL2, Tay et al. 2022).
//!
//! Sentinels are pieces that stand for spans. The source has one in the place of each span, the target has each
//! followed by its span; infilling is the case of one span. Serving asks with the sentinels that training takes
//! (`training::objective`): by default those that [`known_sentinels`] finds.

use crate::config::DenoisingTokens;
use crate::tokenizer::Tokenizer;

/// Most sentinels that are told from other tokens when a span is written. Each is an end token of the request.
pub const MOST_SENTINELS: usize = 32;
/// Most sentinels that are known, those that end no span among them. Few sources of a training have as many spans.
pub const KNOWN_SENTINELS: usize = 256;
/// Number of T5's sentinels (Raffel et al., arXiv 1910.10683).
const T5_SENTINELS: usize = 100;
/// Number in the name of T5Gemma 2's first sentinel, as the model's own examples have it.
const T5GEMMA2_FIRST: usize = 6237;
/// Largest `N` for which `<unusedN>` is looked up: Gemma 2 has 99 of them, Gemma 3 6242.
const MAX_UNUSED: usize = 10_000;
/// Sentinels in the marks that earlier versions left, however many the training took.
const SENTINELS_OF_OLD_MARKS: usize = 32;
/// Number of mode tokens, of R, X and S denoisers. Where they are among the pieces that training takes by default, they
/// are no sentinels.
pub(crate) const MODES: usize = 3;

/// How a model is asked for a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infilling {
    /// Pieces that stand for spans, at least one, in their order.
    sentinels: Vec<u32>,
    /// Number of those that are told from other tokens when a span is written.
    ending: usize,
    /// Comes before the source.
    mode: Option<u32>,
}

/// Everything that is known about the pieces by which infilling is asked for.
#[derive(Debug, Clone)]
pub struct InfillingPieces<'a> {
    /// Sentinels that the settings name, in their order.
    pub sentinels: &'a [String],
    /// The mode token that the settings name; empty for none.
    pub mode: &'a str,
    /// The mark that training left in the checkpoint; it counts where the settings name no sentinels.
    pub trained: Option<DenoisingTokens>,
    /// Size of the vocabulary: ids are below it.
    pub vocab: usize,
}

impl Infilling {
    /// Finds the pieces: those that are named, or that the checkpoint was trained with, or that are known by name.
    /// `None` where there are none of them.
    ///
    /// # Errors
    /// Every problem with the pieces that are named.
    pub fn find(tokenizer: &Tokenizer, pieces: InfillingPieces<'_>) -> Result<Option<Self>, Vec<String>> {
        let InfillingPieces { sentinels: named, mode, trained, vocab } = pieces;
        if named.len() > MOST_SENTINELS {
            let count = named.len();
            return Err(vec![format!("sentinels names {count} pieces, and at most {MOST_SENTINELS} are used")]);
        }
        let named_mode = match mode {
            "" => None,
            mode => piece_ids(tokenizer, &[mode.to_owned()], vocab)?.first().copied(),
        };
        let (mut sentinels, mode) = match trained {
            _ if !named.is_empty() => (piece_ids(tokenizer, named, vocab)?, named_mode),
            Some(trained) => {
                let mode = named_mode.or(trained.mode);
                (completed(trained.sentinels, mode, &default_sentinels(tokenizer, vocab)), mode)
            }
            None => (known_sentinels(tokenizer, vocab), named_mode),
        };
        sentinels.truncate(KNOWN_SENTINELS);
        let problem = match mode {
            Some(_) if sentinels.is_empty() => "infilling_mode names a mode token, and no sentinels are known",
            Some(mode) if sentinels.contains(&mode) => "infilling_mode names a sentinel",
            _ => return Ok(Self::with(sentinels, mode)),
        };
        Err(vec![problem.to_owned()])
    }

    /// Infilling with these sentinels; `None` without any.
    pub(crate) fn with(sentinels: Vec<u32>, mode: Option<u32>) -> Option<Self> {
        let ending = sentinels.len().min(MOST_SENTINELS);
        (ending > 0).then_some(Self { sentinels, ending, mode })
    }

    /// The source that asks for the span between two texts.
    pub fn source(&self, before: &[u32], after: &[u32]) -> Vec<u32> {
        [self.mode.as_slice(), before, &[self.first()], after].concat()
    }

    /// The sentinel that stands for the span: in the source, and before it in the target.
    pub fn first(&self) -> u32 {
        self.sentinels[0]
    }

    /// The sentinel of a further span, of which there is none: it ends the target.
    pub fn next(&self) -> Option<u32> {
        self.sentinels.get(1).copied()
    }

    /// The first sentinels, in their order: where one is chosen, the span ends.
    pub fn sentinels(&self) -> &[u32] {
        &self.sentinels[..self.ending]
    }

    /// Further sentinels: none is part of a span, and none is expected at its end.
    pub fn further(&self) -> &[u32] {
        &self.sentinels[self.ending..]
    }

    /// Whether a token is a sentinel.
    pub fn is_sentinel(&self, id: u32) -> bool {
        self.sentinels.contains(&id)
    }

    /// The token before the source.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }
}

/// The sentinels that are known by their names, in their order: T5's `<extra_id_0>`, `<extra_id_1>` and so on, or
/// T5Gemma 2's `<unused6237>`, `<unused6236>` and so on downwards. None of an id that is not below `vocab`.
pub(crate) fn known_sentinels(tokenizer: &Tokenizer, vocab: usize) -> Vec<u32> {
    let id_of = |name: String| tokenizer.id_of(&name).filter(|&id| (id as usize) < vocab);
    let t5: Vec<u32> = (0..T5_SENTINELS).map_while(|number| id_of(format!("<extra_id_{number}>"))).collect();
    if !t5.is_empty() {
        return t5;
    }
    (0..=T5GEMMA2_FIRST).rev().map_while(|number| id_of(format!("<unused{number}>"))).collect()
}

/// The sentinels that training takes by default, mode tokens among them, in their order.
pub(crate) fn default_sentinels(tokenizer: &Tokenizer, vocab: usize) -> Vec<u32> {
    let known = known_sentinels(tokenizer, vocab);
    if known.is_empty() { unused_pieces(tokenizer, vocab) } else { known }
}

/// The pieces `<unusedN>`, in the order of their numbers. None of an id that is not below `vocab`.
pub(crate) fn unused_pieces(tokenizer: &Tokenizer, vocab: usize) -> Vec<u32> {
    let ids = (0..MAX_UNUSED).filter_map(|number| tokenizer.id_of(&format!("<unused{number}>")));
    ids.filter(|&id| (id as usize) < vocab).collect()
}

/// All sentinels of a training whose mark has these.
///
/// Marks of earlier versions have the first 32 alone. Where these are those that training takes by default, the model
/// was trained with the further ones, too: they are no text, in prompts as little as in spans. Those of a training
/// that named more than 32 are not known.
fn completed(mut marked: Vec<u32>, mode: Option<u32>, by_default: &[u32]) -> Vec<u32> {
    let first = by_default.iter().position(|id| marked.first() == Some(id));
    let Some(first) = first.filter(|_| marked.len() == SENTINELS_OF_OLD_MARKS) else { return marked };
    let mut rest = by_default[first..].iter();
    let are_all = marked.iter().all(|id| rest.any(|other| other == id));
    let passed = by_default.len() - first - rest.len();
    if are_all && passed <= marked.len() + MODES {
        marked.extend(rest.filter(|&&id| mode != Some(id)));
    }
    marked
}

/// The ids of pieces, each at most once.
///
/// # Errors
/// The problem of each piece that is not there, or is named twice.
pub(crate) fn piece_ids(tokenizer: &Tokenizer, pieces: &[String], vocab: usize) -> Result<Vec<u32>, Vec<String>> {
    let mut problems = Vec::new();
    let mut ids = Vec::new();
    for piece in pieces {
        match tokenizer.id_of(piece) {
            None => problems.push(format!("the tokenizer has no piece {piece:?}")),
            Some(id) if id as usize >= vocab => {
                problems.push(format!("{piece:?} has the id {id}, outside the model's vocabulary of {vocab}"));
            }
            Some(id) if ids.contains(&id) => problems.push(format!("{piece:?} is named twice")),
            Some(id) => ids.push(id),
        }
    }
    if problems.is_empty() { Ok(ids) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The demo's tokenizer with added pieces, from 4096 on.
    fn tokenizer(pieces: &[&str]) -> Tokenizer {
        let mut file: Value = serde_json::from_slice(include_bytes!("../demo/tokenizer.json")).unwrap();
        for (id, piece) in (4096..).zip(pieces) {
            file["model"]["vocab"][piece] = json!(id);
        }
        Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap()).unwrap()
    }

    struct Named<'a> {
        sentinels: &'a [&'a str],
        mode: &'a str,
        trained: Option<DenoisingTokens>,
    }

    const NOTHING: Named<'_> = Named { sentinels: &[], mode: "", trained: None };

    fn find(tokenizer: &Tokenizer, named: Named<'_>) -> Result<Option<Infilling>, Vec<String>> {
        let sentinels: Vec<_> = named.sentinels.iter().map(ToString::to_string).collect();
        let Named { mode, trained, .. } = named;
        Infilling::find(tokenizer, InfillingPieces { sentinels: &sentinels, mode, trained, vocab: 4100 })
    }

    #[test]
    fn named_sentinels_come_before_trained_ones_and_these_before_known_ones() {
        let pieces = tokenizer(&["<extra_id_0>", "<unused1>", "<unused0>", "[NLU]"]);
        let trained = DenoisingTokens { sentinels: vec![50, 51], mode: Some(52) };
        let named = Named { sentinels: &["<unused1>", "<unused0>"], trained: Some(trained.clone()), ..NOTHING };
        let found = find(&pieces, named).unwrap().unwrap();
        assert_eq!((found.sentinels(), found.next(), found.mode()), (&[4097, 4098][..], Some(4098), None));
        let found = find(&pieces, Named { trained: Some(trained.clone()), ..NOTHING }).unwrap().unwrap();
        assert_eq!(found.source(&[5, 6], &[7]), [52, 5, 6, 50, 7]);
        let found = find(&pieces, Named { mode: "[NLU]", trained: Some(trained), ..NOTHING }).unwrap().unwrap();
        assert_eq!(found.source(&[5], &[]), [4099, 5, 50]);
        let found = find(&pieces, NOTHING).unwrap().unwrap();
        assert_eq!((found.first(), found.next(), found.mode()), (4096, None, None));
        let plain = tokenizer(&["<unused1>", "<unused0>"]);
        assert_eq!(find(&plain, NOTHING), Ok(None), "a piece that is unused is no sentinel by itself");
    }

    #[test]
    fn sentinels_beyond_those_that_end_a_span_are_known_too() {
        let names: Vec<String> = (0..100).map(|number| format!("<extra_id_{number}>")).collect();
        let pieces = tokenizer(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let pieces_of = InfillingPieces { sentinels: &[], mode: "", trained: None, vocab: 4190 };
        let found = Infilling::find(&pieces, pieces_of).unwrap().unwrap();
        assert_eq!((found.sentinels().len(), found.further().len()), (32, 62));
        assert!(found.is_sentinel(4096) && found.is_sentinel(4189) && !found.is_sentinel(4190));
        assert_eq!(found.further()[0], 4128);
    }

    #[test]
    fn a_mark_of_the_first_32_sentinels_of_a_training_stands_for_all_of_them() {
        let t5: Vec<String> = (0..50).map(|number| format!("<extra_id_{number}>")).collect();
        let unused: Vec<String> = (0..50).map(|number| format!("<unused{number}>")).collect();
        let further_of = |names: &[String], marked: Vec<u32>, mode: Option<u32>| {
            let pieces = tokenizer(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let trained = Some(DenoisingTokens { sentinels: marked.clone(), mode });
            let pieces_of = InfillingPieces { sentinels: &[], mode: "", trained, vocab: 4140 };
            let found = Infilling::find(&pieces, pieces_of).unwrap().unwrap();
            assert_eq!(found.sentinels(), marked);
            found.further().to_vec()
        };
        let further = |names: &[String], marked| further_of(names, marked, None);
        assert_eq!(further(&t5, (4096..4128).collect()), (4128..4140).collect::<Vec<_>>());
        // The first three stand for modes, or the last of these among the sentinels.
        assert_eq!(further(&unused, (4099..4131).collect()), (4131..4140).collect::<Vec<_>>());
        let around = (4096..4129).filter(|&id| id != 4100).collect();
        assert_eq!(further(&unused, around), (4129..4140).collect::<Vec<_>>());
        assert_eq!(further_of(&unused, (4096..4128).collect(), Some(4128)), (4129..4140).collect::<Vec<_>>());
        // A mark of a training with fewer, or with others that its settings named.
        assert!(further(&t5, (4096..4127).collect()).is_empty());
        assert!(further(&t5, (4096..4128).rev().collect()).is_empty());
        assert!(further(&t5, (10..42).collect()).is_empty());
    }

    #[test]
    fn known_names_are_t5_s_upwards_and_t5gemma_2_s_downwards() {
        let t5 = tokenizer(&["<extra_id_1>", "<extra_id_0>", "<extra_id_3>", "<unused6237>"]);
        assert_eq!(known_sentinels(&t5, 5000), [4097, 4096]);
        let t5gemma2 = tokenizer(&["<unused6236>", "<unused6237>", "<unused6234>", "<extra_id_1>"]);
        assert_eq!(known_sentinels(&t5gemma2, 5000), [4097, 4096]);
        assert!(known_sentinels(&t5gemma2, 4097).is_empty(), "ids outside the vocabulary are none");
    }

    #[test]
    fn pieces_that_cannot_be_meant_are_told() {
        let plain = tokenizer(&["<unused1>"]);
        let problem = |named| find(&plain, named).unwrap_err().join("; ");
        assert!(problem(Named { sentinels: &["<unused7>"], ..NOTHING }).contains("no piece \"<unused7>\""));
        assert!(problem(Named { mode: "<unused1>", ..NOTHING }).contains("no sentinels are known"));
        let same = Named { sentinels: &["<unused1>"], mode: "<unused1>", ..NOTHING };
        assert!(problem(same).contains("infilling_mode names a sentinel"));
        let many = vec!["<unused1>"; MOST_SENTINELS + 1];
        assert!(problem(Named { sentinels: &many, ..NOTHING }).contains("names 33 pieces, and at most 32"));
    }
}
