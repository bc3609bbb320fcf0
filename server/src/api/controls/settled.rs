//! Controls of a request laid over the defaults of its model.
//!
//! Used by `generation` once words are ids.

use super::declared::ALLOWED_TOKEN_IDS;
use super::given::GivenControls;
use crate::api::http::ApiError;
use crate::request::Controls;

/// Everything that the controls of a request are settled with.
#[derive(Debug)]
pub struct Settling<'a> {
    /// Controls that the checkpoint asks for; fields of a request take their place.
    pub defaults: &'a Controls,
    /// The ids of the request's bad words, which take the place of the checkpoint's where they were given.
    pub bad_words: Option<Vec<Vec<u32>>>,
    /// End tokens that are not chosen at first.
    pub held_back: &'a [u32],
}

impl Settling<'_> {
    /// The controls of a request.
    ///
    /// # Errors
    /// When `allowed_token_ids` leaves nothing that may be chosen first.
    pub fn settle(self, given: GivenControls) -> Result<Controls, ApiError> {
        let Self { defaults, bad_words, held_back } = self;
        let is_allowed = |id: u32| given.allowed.as_ref().is_none_or(|allowed| allowed.contains(id));
        let controls = Controls {
            repetition_penalty: given.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            presence_penalty: given.presence_penalty,
            frequency_penalty: given.frequency_penalty,
            no_repeat_ngram: given.no_repeat_ngram.unwrap_or(defaults.no_repeat_ngram),
            biases: given.biases,
            banned: [&defaults.banned[..], &given.banned].concat(),
            banned_first: defaults.banned_first.clone(),
            bad_words: bad_words.unwrap_or_else(|| defaults.bad_words.clone()),
            // What a client allows goes before what the checkpoint would force.
            forced_first: defaults.forced_first.filter(|&id| is_allowed(id)),
            forced_last: defaults.forced_last.iter().copied().filter(|&id| is_allowed(id)).collect(),
            allowed: given.allowed.clone(),
            stop_tokens: given.stop_tokens,
        }
        .in_order();
        if let Some(allowed) = &controls.allowed {
            let is_banned = |id: &u32| [&controls.banned, &controls.banned_first].iter().any(|ids| ids.contains(id));
            let is_left = |id: &u32| !is_banned(id) && !held_back.contains(id);
            if controls.forced_first.is_none() && !allowed.ids().any(|id| is_left(&id)) {
                let problem = "leaves nothing to choose: its ids are bad words, tokens that the checkpoint suppresses, \
                               or end tokens before 'min_tokens'";
                return Err(ApiError::Invalid { param: ALLOWED_TOKEN_IDS.to_owned(), problem });
            }
        }
        Ok(controls)
    }
}
