//! Defaults of requests, from what `generation_config.json` asks for.
//!
//! As in transformers, and under the names that vLLM takes from the file. A file that does not write `do_sample` leaves
//! it to requests whether they draw, as vLLM does.

use kernels::Sampling;
use model::Checkpoint;
use model::config::{GenerationWishes, NamedWish, SearchEnd};

use super::error::LoadError;
use crate::config::{Config, GenerationConfig};
use crate::request::{BeamSearch, Controls, EarlyStopping, RequestDefaults, TokenLimit, sampling_temperature};

/// The defaults of requests to a checkpoint, and the keys of the file that set them, each with its value.
///
/// # Errors
/// When the file has a value that cannot be honoured.
pub fn checkpoint_defaults(
    config: &Config,
    checkpoint: &Checkpoint,
) -> Result<(RequestDefaults, Vec<NamedWish>), LoadError> {
    if config.model.generation_config == GenerationConfig::Ignore {
        return Ok(Default::default());
    }
    let (document, vocab) = (checkpoint.document(), checkpoint.config().decoder.vocab);
    let mut wishes = document.generation_wishes(vocab).map_err(|source| LoadError::GenerationConfig { source })?;
    keep_ends(&mut wishes.bad_words_ids, &checkpoint.config().end_tokens);
    let width = wishes.num_beams.unwrap_or(1);
    let most = config.limits.choices.min(config.limits.running_rows);
    if width > most {
        return Err(LoadError::WideSearch { width, most });
    }
    Ok((defaults(wishes), document.named_generation_wishes()))
}

/// Drops words of one end token: as in transformers, they ban nothing.
fn keep_ends(bad_words: &mut Vec<Vec<u32>>, end_tokens: &[u32]) {
    bad_words.retain(|word| !matches!(word[..], [id] if end_tokens.contains(&id)));
}

fn defaults(wishes: GenerationWishes) -> RequestDefaults {
    let neutral = RequestDefaults::default();
    let generated =
        |tokens: Option<u32>, length: Option<u32>| tokens.map(TokenLimit::Generated).or(length.map(TokenLimit::Target));
    RequestDefaults {
        sampling: sampling(&wishes, neutral.sampling),
        search: BeamSearch {
            width: wishes.num_beams.unwrap_or(1).max(1),
            length_penalty: wishes.length_penalty.unwrap_or(neutral.search.length_penalty),
            early_stopping: match wishes.early_stopping {
                None | Some(SearchEnd::Unlikely) => EarlyStopping::Unlikely,
                Some(SearchEnd::Full) => EarlyStopping::Full,
                Some(SearchEnd::Impossible) => EarlyStopping::Impossible,
            },
        },
        most_tokens: generated(wishes.max_new_tokens, wishes.max_length),
        least_tokens: generated(wishes.min_new_tokens, wishes.min_length),
        controls: Controls {
            repetition_penalty: wishes.repetition_penalty.map_or(1.0, |penalty| penalty as f32),
            no_repeat_ngram: wishes.no_repeat_ngram_size.unwrap_or(0),
            banned: wishes.suppress_tokens,
            banned_first: wishes.begin_suppress_tokens,
            bad_words: wishes.bad_words_ids,
            forced_first: wishes.forced_bos_token_id,
            forced_last: wishes.forced_eos_token_id,
            ..neutral.controls
        },
    }
}

/// Without drawing, transformers heeds none of the numbers.
fn sampling(wishes: &GenerationWishes, neutral: Sampling) -> Sampling {
    if wishes.do_sample == Some(false) {
        return Sampling { temperature: 0.0, ..neutral };
    }
    let top_p = wishes.top_p.map_or(neutral.top_p, |top_p| top_p as f32);
    let temperature = wishes.temperature.map_or(neutral.temperature, sampling_temperature);
    Sampling {
        // Of no probability mass at all the most probable token is left.
        temperature: if top_p == 0.0 { 0.0 } else { temperature },
        top_k: wishes.top_k.unwrap_or(neutral.top_k),
        top_p: top_p.max(f32::MIN_POSITIVE),
        min_p: wishes.min_p.map_or(neutral.min_p, |min_p| min_p as f32),
        seed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_word_that_is_the_end_bans_nothing() {
        let mut words = vec![vec![1], vec![1, 1], vec![7], vec![107]];
        keep_ends(&mut words, &[1, 107]);
        assert_eq!(words, [vec![1, 1], vec![7]]);
    }

    #[test]
    fn a_file_that_says_nothing_leaves_openai_s_defaults() {
        assert_eq!(defaults(GenerationWishes::default()), RequestDefaults::default());
    }

    #[test]
    fn without_drawing_the_numbers_of_drawing_mean_nothing() {
        let drawn =
            GenerationWishes { temperature: Some(0.7), top_k: Some(64), top_p: Some(0.5), ..Default::default() };
        let sampling = defaults(drawn.clone()).sampling;
        assert_eq!((sampling.temperature, sampling.top_k, sampling.top_p), (0.7, 64, 0.5));
        let greedy = defaults(GenerationWishes { do_sample: Some(false), ..drawn }).sampling;
        assert_eq!((greedy.temperature, greedy.top_k, greedy.top_p), (0.0, 0, 1.0));
    }

    #[test]
    fn numbers_of_new_tokens_go_before_lengths_of_targets_which_count_what_came_before() {
        let lengths = GenerationWishes { max_length: Some(20), min_length: Some(5), ..Default::default() };
        let found = defaults(lengths.clone());
        let limits = [found.most_tokens, found.least_tokens].map(|limit| limit.unwrap().generated(3));
        assert_eq!(limits, [16, 1]);
        let found = defaults(GenerationWishes { max_new_tokens: Some(7), ..lengths });
        assert_eq!(found.most_tokens, Some(TokenLimit::Generated(7)));
    }
}
