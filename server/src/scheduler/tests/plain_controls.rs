//! Controls in textbook form, over all logits and all tokens at once: what rules are held to.

use std::collections::HashSet;

use super::fake_model::{END, START};
use crate::request::{Constraint, GenerationRequest};

/// Applies a request's controls to the logits of the token that follows `generated`.
pub fn apply(asked: &GenerationRequest, generated: &[u32], logits: &mut [f32]) {
    let controls = &*asked.controls;
    let target: Vec<u32> = [&[START], &asked.decoder_prompt[..], generated].concat();
    let allowed = asked.constraint.as_ref().map(|constraint| allowed(constraint, generated));
    let forced = forced(asked, generated);
    if !forced.is_empty() {
        let others = (0..).zip(logits.iter_mut()).filter(|(id, _)| !forced.contains(id));
        return others.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
    }
    for id in target.iter().collect::<HashSet<_>>() {
        let logit = &mut logits[*id as usize];
        let penalty = controls.repetition_penalty;
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
    for (id, logit) in (0..).zip(logits.iter_mut()) {
        let times = generated.iter().filter(|&&token| token == id).count();
        let bias: f32 = controls.biases.iter().filter(|bias| bias.id == id).map(|bias| bias.bias).sum();
        if times > 0 {
            *logit += bias - (controls.presence_penalty + controls.frequency_penalty * times as f32);
        } else {
            *logit += bias;
        }
    }
    let is_early = generated.len() < asked.min_tokens as usize;
    let holds_back = |id: u32| is_early && (END.contains(&id) || controls.stop_tokens.contains(&id));
    // Where a constraint leaves nothing but the end, the end is not held back.
    let goes_on = allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|&id| !holds_back(id)));
    let refused = |id: u32| {
        allowed.as_ref().is_some_and(|allowed| !allowed.contains(&id))
            || goes_on && holds_back(id)
            || refuses(asked, &target, id)
    };
    let refused: Vec<u32> = (0..).take(logits.len()).filter(|&id| refused(id)).collect();
    refused.into_iter().for_each(|id| logits[id as usize] = f32::NEG_INFINITY);
}

/// Ids of which the token that follows `generated` must be one; any where there are none.
pub fn forced(asked: &GenerationRequest, generated: &[u32]) -> Vec<u32> {
    let controls = &*asked.controls;
    if asked.constraint.is_some() {
        Vec::new()
    } else if !controls.forced_last.is_empty() && generated.len() + 1 == asked.max_tokens as usize {
        controls.forced_last.clone()
    } else if generated.is_empty() && asked.decoder_prompt.is_empty() {
        controls.forced_first.into_iter().collect()
    } else {
        Vec::new()
    }
}

/// Ids that the constraint allows after these tokens.
fn allowed(constraint: &Constraint, generated: &[u32]) -> Vec<u32> {
    let (mut state, mut words) = (constraint.start(), Vec::new());
    generated.iter().for_each(|&token| state.advance(token).unwrap());
    state.write_allowed(&mut words).unwrap();
    (0..32 * words.len() as u32).filter(|id| words[*id as usize / 32] >> (id % 32) & 1 == 1).collect()
}

fn refuses(asked: &GenerationRequest, target: &[u32], id: u32) -> bool {
    let controls = &*asked.controls;
    let longer = [target, &[id]].concat();
    let length = controls.no_repeat_ngram as usize;
    let repeats = length > 0
        && longer.len() > length
        && target.windows(length).any(|earlier| earlier == &longer[longer.len() - length..]);
    // Positions as transformers counts them, the start token at 0.
    let given = 1 + asked.decoder_prompt.len();
    let begin = if given > 1 || controls.forced_first.is_none() { given } else { given + 1 };
    controls.allowed.as_ref().is_some_and(|allowed| !allowed.contains(id))
        || controls.banned.contains(&id)
        || target.len() == begin && controls.banned_first.contains(&id)
        || controls.bad_words.iter().any(|word| longer[1..].ends_with(word))
        || repeats
}
