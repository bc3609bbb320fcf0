//! Answers of requests that run alone, without a scheduler: what a client has to get beside any others.

use std::collections::BTreeSet;

use kernels::Draw;

use super::fake_model::{END, START, digest_source, draw, log_probs, mix};
use super::plain_controls;
use crate::request::{BeamSearch, EncodeRequest, FinishReason, GenerationRequest, Rating, Readout, StopCheck};
use crate::scheduler::beams::SearchBounds;
use crate::scheduler::beams::tests::plain_search::{self, Hypothesis};

/// Answer of one choice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Generated tokens.
    pub tokens: Vec<u32>,
    /// Scored tokens with their digests, prompt first.
    pub scores: Vec<(u32, u64)>,
    /// How a beam search rates it.
    pub rating: Option<Rating>,
    /// How it ends.
    pub finish: Option<FinishReason>,
}

/// Computes the result of an encoder request that runs alone.
pub fn encoded_alone(asked: &EncodeRequest) -> u64 {
    let digest = digest_source(asked.source.iter().copied());
    mix(digest, if asked.readout == Readout::LastToken { 1 } else { 2 })
}

/// Computes the answers of an exact search that runs alone: the best of all targets.
fn best_alone(asked: &GenerationRequest, beams: BeamSearch) -> Vec<Answer> {
    let mut open = vec![(Vec::new(), 0.0)];
    let mut all = Vec::new();
    while let Some((tokens, sum)) = open.pop() {
        let beginning = [&[START], &asked.decoder_prompt[..], &tokens].concat();
        let source = digest_source(asked.source.iter().copied());
        let mut log_probs = log_probs(beginning.iter().fold(source, |digest, &token| mix(digest, token)));
        plain_controls::apply(asked, &tokens, &mut log_probs);
        for (id, log_prob) in (0..).zip(log_probs).filter(|(_, log_prob)| log_prob.is_finite()) {
            let (tokens, log_prob): (Vec<u32>, f32) = ([&tokens[..], &[id]].concat(), sum + log_prob);
            let is_end = is_end(asked, &tokens);
            if !is_end && tokens.len() < asked.max_tokens as usize {
                open.push((tokens, log_prob));
                continue;
            }
            let score = log_prob / (tokens.len() as f64).powf(beams.length_penalty) as f32;
            let rating = Some(Rating { score, log_prob, is_exact: Some(true) });
            let finish = Some(if is_end { FinishReason::Stop } else { FinishReason::Length });
            all.push(Answer { tokens, scores: scores_of_prompt(asked), rating, finish });
        }
    }
    all.sort_by(|a, b| b.rating.unwrap().score.total_cmp(&a.rating.unwrap().score));
    filled_up(all, asked, Some(true))
}

/// Tokens that end a target of a request, ascending.
fn end_tokens(asked: &GenerationRequest) -> Vec<u32> {
    let model_s: &[u32] = if asked.ignore_end { &[] } else { &END };
    let ends = [model_s, &asked.controls.stop_tokens].concat().into_iter().collect::<BTreeSet<_>>();
    ends.into_iter().collect()
}

/// Whether a branch of a search is at its end with these tokens.
fn is_end(asked: &GenerationRequest, tokens: &[u32]) -> bool {
    let completes = |stop: &StopCheck| {
        let mut scan = stop.start();
        tokens.iter().map(|&token| scan.push(token)).last() == Some(true)
    };
    let is_end = tokens.last().is_some_and(|last| end_tokens(asked).contains(last));
    is_end || asked.stop.as_ref().is_some_and(completes)
}

/// Computes the answers of a beam search that runs alone: what transformers' loop finds.
fn search_alone(asked: &GenerationRequest, beams: BeamSearch) -> Vec<Answer> {
    let bounds = SearchBounds { max_tokens: asked.max_tokens as usize, end_ids: end_tokens(asked).len() };
    let prompt = [&[START], asked.decoder_prompt.as_slice()].concat();
    let start = prompt.iter().fold(digest_source(asked.source.iter().copied()), |digest, &token| mix(digest, token));
    let digest_after = |tokens: &[u32]| tokens.iter().fold(start, |digest, &token| mix(digest, token));
    let hypotheses = plain_search::search(
        beams,
        bounds,
        |tokens| is_end(asked, tokens),
        |tokens| {
            let mut log_probs = log_probs(digest_after(tokens));
            plain_controls::apply(asked, tokens, &mut log_probs);
            // transformers counts nothing for a token that is forced.
            plain_controls::forced(asked, tokens).into_iter().for_each(|id| log_probs[id as usize] = 0.0);
            log_probs.to_vec()
        },
    );
    let is_exact = asked.searches_targets().then_some(false);
    let scores = |tokens: &[u32]| {
        let own = (0..tokens.len()).map(|index| (tokens[index], digest_after(&tokens[..index])));
        let own = if asked.log_probs.is_some() { own.collect() } else { Vec::new() };
        [scores_of_prompt(asked), own].concat()
    };
    let answer = |hypothesis: Hypothesis| Answer {
        scores: scores(&hypothesis.tokens),
        tokens: hypothesis.tokens,
        rating: Some(Rating { score: hypothesis.score, log_prob: hypothesis.log_prob, is_exact }),
        finish: Some(hypothesis.reason),
    };
    filled_up(hypotheses.into_iter().map(answer).collect(), asked, is_exact)
}

/// The answers of all choices, where a search found something for some of them.
fn filled_up(mut found: Vec<Answer>, asked: &GenerationRequest, is_exact: Option<bool>) -> Vec<Answer> {
    let lowest = f32::NEG_INFINITY;
    let rating = Some(Rating { score: lowest, log_prob: lowest, is_exact });
    let finish = Some(FinishReason::Stop);
    if !found.is_empty() {
        let nothing = Answer { scores: scores_of_prompt(asked), rating, finish, ..Answer::default() };
        found.resize(found.len().max(asked.choices as usize), nothing);
    }
    found
}

/// The tokens of the decoder prompt that are scored, with their digests.
fn scores_of_prompt(asked: &GenerationRequest) -> Vec<(u32, u64)> {
    let mut digest = mix(digest_source(asked.source.iter().copied()), START);
    let scored = asked.decoder_prompt.iter().map(|&token| {
        let before = digest;
        digest = mix(digest, token);
        (token, before)
    });
    asked.prompt_scores.map_or_else(Vec::new, |scores| scored.skip(scores.from).collect())
}

/// The sum of the log-probabilities that a beam search gives these tokens.
pub fn score_alone(asked: &GenerationRequest, tokens: &[u32]) -> f32 {
    let prompt = [&[START], asked.decoder_prompt.as_slice()].concat();
    let mut digest =
        prompt.iter().fold(digest_source(asked.source.iter().copied()), |digest, &token| mix(digest, token));
    let mut sum = 0.0;
    for &token in tokens {
        sum += log_probs(digest)[token as usize];
        digest = mix(digest, token);
    }
    sum
}

/// Computes the answer of a choice that runs alone, without a scheduler. It has no end where no
/// token can be drawn, or a search finds nothing.
pub fn answer_alone(asked: &GenerationRequest, choice: u32) -> Answer {
    if let Some(beams) = asked.beams.filter(|_| asked.max_tokens > 0) {
        let exact = asked.exact_search().map(|_| best_alone(asked, beams));
        let all = exact.unwrap_or_else(|| search_alone(asked, beams));
        return all.get(choice as usize).cloned().unwrap_or_default();
    }
    let rating = asked.beams.map(|_| Rating::of_no_tokens(asked.searches_targets().then_some(true)));
    let mut answer = Answer { scores: scores_of_prompt(asked), rating, ..Answer::default() };
    let prompt = [&[START], asked.decoder_prompt.as_slice()].concat();
    let mut digest =
        prompt.iter().fold(digest_source(asked.source.iter().copied()), |digest, &token| mix(digest, token));
    while answer.finish.is_none() {
        let generated = answer.tokens.len();
        if generated == asked.max_tokens as usize {
            answer.finish = Some(FinishReason::Length);
            break;
        }
        let position = u32::try_from(1 + asked.decoder_prompt.len() + generated).unwrap();
        let drawn = Draw { sampling: asked.sampling, choice, position, ..Draw::greedy(0) };
        let ruled = |logits: &mut [f32]| plain_controls::apply(asked, &answer.tokens, logits);
        let Some(token) = draw(digest, &drawn, ruled) else { break };
        if asked.log_probs.is_some() {
            answer.scores.push((token, digest));
        }
        answer.tokens.push(token);
        digest = mix(digest, token);
        if END.contains(&token) && !asked.ignore_end || asked.controls.stop_tokens.contains(&token) {
            answer.finish = Some(FinishReason::Stop);
        }
    }
    answer
}
