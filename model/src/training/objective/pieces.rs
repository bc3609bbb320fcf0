//! The tokenizer's pieces that denoising uses as sentinels and mode tokens.
//!
//! Used by `recipe` for `ul2`. Errors name the key to set.

use crate::config::DenoisingTokens;
use crate::infilling::{KNOWN_SENTINELS, MODES, default_sentinels, piece_ids, unused_pieces};
use crate::tokenizer::Tokenizer;
use crate::training::settings::DenoiserMix;

/// Ids of the pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DenoisingPieces {
    /// Sentinels, at least one.
    pub sentinels: Vec<u32>,
    /// Mode tokens of R, X and S, if there are any.
    pub modes: Option<[u32; MODES]>,
}

/// Pieces that the settings name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub mix: DenoiserMix,
    pub sentinels: &'a [String],
    pub mode_tokens: Option<&'a [String]>,
    /// Size of the vocabulary: ids are below it.
    pub vocab: usize,
}

impl DenoisingPieces {
    /// Finds the pieces; problems name the key to set.
    pub fn find(tokenizer: &Tokenizer, wanted: Wanted<'_>) -> Result<Self, Vec<String>> {
        let unused = unused_pieces(tokenizer, wanted.vocab);
        let mut problems = Vec::new();
        let modes = modes(tokenizer, wanted, &unused).unwrap_or_else(|found| {
            problems.extend(found);
            None
        });
        let named = piece_ids(tokenizer, wanted.sentinels, wanted.vocab).unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(|problem| format!("objective.sentinels: {problem}")));
            Vec::new()
        });
        let is_mode = |id: &u32| modes.is_some_and(|modes| modes.contains(id));
        if let Some(position) = named.iter().position(is_mode) {
            problems.push(format!("objective.sentinels: {:?} is a mode token", wanted.sentinels[position]));
        }
        let by_default = || {
            let pieces = default_sentinels(tokenizer, wanted.vocab);
            pieces.into_iter().filter(|id| !is_mode(id)).collect()
        };
        let sentinels: Vec<u32> = if wanted.sentinels.is_empty() { by_default() } else { named };
        if problems.is_empty() && sentinels.is_empty() {
            let taken = if modes.is_some() { " beside the mode tokens" } else { "" };
            problems.push(format!(
                "objective.sentinels: the tokenizer has no <unusedN>{taken}; name pieces of it that the texts do not \
                 use"
            ));
        }
        if problems.is_empty() { Ok(Self { sentinels, modes }) } else { Err(problems) }
    }

    /// The tokens by which the trained model is asked for a short span, which R denoisers remove.
    pub fn tokens(&self) -> DenoisingTokens {
        let sentinels = self.sentinels.iter().copied().take(KNOWN_SENTINELS).collect();
        DenoisingTokens { sentinels, mode: self.modes.map(|[regular, ..]| regular) }
    }
}

fn modes(tokenizer: &Tokenizer, wanted: Wanted<'_>, unused: &[u32]) -> Result<Option<[u32; MODES]>, Vec<String>> {
    let advice = "name three pieces that the texts do not use (of R, X and S), or none: []";
    let named = match wanted.mode_tokens {
        Some([]) => return Ok(None),
        Some(named) => named,
        None if wanted.mix == DenoiserMix::T5gemma2 => return Ok(None),
        None => {
            let first = unused.first_chunk::<MODES>().copied();
            let too_few = || {
                vec![format!("objective.mode_tokens: the tokenizer has {} pieces <unusedN>; {advice}", unused.len())]
            };
            return first.map(Some).ok_or_else(too_few);
        }
    };
    let ids = piece_ids(tokenizer, named, wanted.vocab).map_err(|found| {
        found.into_iter().map(|problem| format!("objective.mode_tokens: {problem}")).collect::<Vec<_>>()
    })?;
    let ids = <[u32; MODES]>::try_from(ids);
    ids.map(Some).map_err(|ids| vec![format!("objective.mode_tokens: there are {}; {advice}", ids.len())])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The demo's tokenizer with added pieces.
    fn tokenizer(pieces: &[&str]) -> Tokenizer {
        let mut file: Value = serde_json::from_slice(include_bytes!("../../../demo/tokenizer.json")).unwrap();
        for (id, piece) in (4096..).zip(pieces) {
            file["model"]["vocab"][piece] = json!(id);
        }
        Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap()).unwrap()
    }

    fn found(
        pieces: &[&str],
        mix: DenoiserMix,
        sentinels: &[&str],
        modes: Option<&[&str]>,
    ) -> Result<DenoisingPieces, String> {
        let owned = |pieces: &[&str]| pieces.iter().map(|piece| (*piece).to_owned()).collect::<Vec<_>>();
        let (sentinels, modes) = (owned(sentinels), modes.map(owned));
        let wanted = Wanted { mix, sentinels: &sentinels, mode_tokens: modes.as_deref(), vocab: 4103 };
        DenoisingPieces::find(&tokenizer(pieces), wanted).map_err(|problems| problems.join("\n"))
    }

    /// The pieces are out of order, one is missing, and the last two are outside the vocabulary.
    const UNUSED: [&str; 9] = [
        "<unused10>",
        "<unused2>",
        "<unused1>",
        "<unused0>",
        "<unused4>",
        "<unused5>",
        "<unused6>",
        "<unused7>",
        "<unused8>",
    ];

    #[test]
    fn by_default_unused_pieces_stand_for_modes_and_then_for_spans() {
        let found = |mix, modes| found(&UNUSED, mix, &[], modes).unwrap();
        let ul2 = found(DenoiserMix::Ul2, None);
        assert_eq!(ul2, DenoisingPieces { sentinels: vec![4100, 4101, 4102, 4096], modes: Some([4099, 4098, 4097]) });
        let t5gemma2 = found(DenoiserMix::T5gemma2, None);
        assert_eq!(
            t5gemma2,
            DenoisingPieces { sentinels: vec![4099, 4098, 4097, 4100, 4101, 4102, 4096], modes: None }
        );
        assert_eq!(found(DenoiserMix::Ul2, Some(&[])), t5gemma2);
        let named = found(DenoiserMix::T5gemma2, Some(&["<unused4>", "<unused0>", "<unused10>"]));
        assert_eq!(named, DenoisingPieces { sentinels: vec![4098, 4097, 4101, 4102], modes: Some([4100, 4099, 4096]) });
    }

    #[test]
    fn the_published_sentinels_of_t5gemma2_are_taken_downwards_by_default() {
        let pieces = ["<unused0>", "<unused6235>", "<unused6236>", "<unused6237>", "<unused6238>"];
        let found = found(&pieces, DenoiserMix::T5gemma2, &[], None).unwrap();
        assert_eq!(found, DenoisingPieces { sentinels: vec![4099, 4098, 4097], modes: None });
    }

    #[test]
    fn named_pieces_are_taken_in_their_order() {
        let found = found(&UNUSED, DenoiserMix::Ul2, &["<unused10>", "<unused4>"], None).unwrap();
        assert_eq!(found.sentinels, [4096, 4100]);
    }

    #[test]
    fn missing_pieces_are_told_with_what_to_set() {
        let none = found(&[], DenoiserMix::T5gemma2, &[], None).unwrap_err();
        assert!(none.contains("objective.sentinels: the tokenizer has no <unusedN>; name pieces"), "{none}");
        let few = found(&["<unused0>", "<unused1>", "<unused2>"], DenoiserMix::Ul2, &[], None).unwrap_err();
        assert!(few.contains("no <unusedN> beside the mode tokens"), "{few}");
        let fewer = found(&["<unused0>"], DenoiserMix::Ul2, &[], None).unwrap_err();
        assert!(fewer.contains("objective.mode_tokens: the tokenizer has 1 pieces"), "{fewer}");
        let outside = found(&UNUSED, DenoiserMix::Ul2, &["<unused8>", "<unused0>"], None).unwrap_err();
        assert!(outside.contains("has the id 4104, outside the model's vocabulary of 4103"), "{outside}");
        let mode = found(&UNUSED, DenoiserMix::Ul2, &["<unused0>"], None).unwrap_err();
        assert!(mode.contains("\"<unused0>\" is a mode token"), "{mode}");
    }
}
