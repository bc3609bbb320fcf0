//! From the scheduler's events, which name rows, to what clients receive, with scores and encoder results.

use kernels::{ScoreAsk, TokenScore};

use crate::request::{FailureKind, FinishReason, Rating, RequestId};
use crate::scheduler::{Event, NoToken, TokenScoreAt};

/// Message for a request whose controls and form left no token.
const NOTHING_LEFT: &str = "no token could be chosen: the form of the text, allowed_token_ids, bad_words, \
                            no_repeat_ngram_size and the bans of the checkpoint's generation_config.json leave none \
                            together; allow more tokens";
/// Message for a search among targets that ended before it found one.
const OUT_OF_STEPS: &str = "the search among the given texts ended at its limit (limits.exact_search_steps) before it \
                            found one that bad_words, allowed_token_ids, no_repeat_ngram_size and the bans of the \
                            checkpoint's generation_config.json allow; allow more tokens, or give fewer texts";

/// News for the client of a request.
pub(super) struct Message {
    /// The request.
    pub request: RequestId,
    /// The event.
    pub news: News,
}

/// An event of a request, whatever kind of request it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// It began; so many of its source's tokens were encoded already.
    Started { cached_tokens: u32 },
    /// Its source is encoded.
    SourceReady,
    /// A token of a choice's decoder prompt was scored.
    Scored { choice: u32, score: TokenScore },
    /// A token of a choice was generated.
    Token { choice: u32, id: u32, score: Option<TokenScore> },
    /// Tokens of a choice were drafted, and some of them were right.
    Drafted { choice: u32, drafted: u32, accepted: u32 },
    /// A choice was rated by its beam search.
    Rated { choice: u32, rating: Rating },
    /// A choice ended.
    Finished { choice: u32, reason: FinishReason },
    /// The result of an encoder request, which ends it.
    Encoded { numbers: Vec<f32> },
    /// The request failed.
    Failed { message: String, kind: FailureKind },
}

/// The numbers that the executor read for the events of a step, in their order.
pub(super) struct Read<'a, Scores> {
    /// The scores that [`score_ask`] asked for.
    pub scores: Scores,
    /// Results of encoder requests.
    pub encoded: &'a mut [Vec<f32>],
}

/// The log-probabilities that an event carries.
pub(super) fn score_ask(event: &Event) -> Option<ScoreAsk> {
    let (token, at) = match event {
        Event::Scored { token, score, .. } | Event::Kept { token, score, .. } => (token, score),
        Event::Token { token, score: Some(TokenScoreAt::Logits(score)), .. } => (token, score),
        Event::Token { .. }
        | Event::Started { .. }
        | Event::Drafted { .. }
        | Event::Rated { .. }
        | Event::Finished { .. }
        | Event::Encoded { .. }
        | Event::Failed { .. } => return None,
    };
    Some(ScoreAsk { row: at.logits_row, id: *token, top: at.top })
}

/// The message of an event, if it has one; takes from `read` what belongs to it.
pub(super) fn message(event: &Event, read: &mut Read<'_, impl Iterator<Item = TokenScore>>) -> Option<Message> {
    let Read { scores, encoded } = read;
    let mut next = || scores.next().expect("each score that was asked for is there");
    let news = match *event {
        Event::Kept { ref held, .. } => match next() {
            score if score.is_of_distribution() => {
                held.hold(score);
                return None;
            }
            _ => not_finite("logits"),
        },
        Event::Started { cached_tokens, .. } => News::Started { cached_tokens },
        Event::Scored { choice, .. } => match next() {
            score if score.is_of_distribution() => News::Scored { choice, score },
            _ => not_finite("logits"),
        },
        Event::Token { choice, token, score: None, .. } => News::Token { choice, id: token, score: None },
        Event::Token { choice, token, score: Some(ref at), .. } => {
            let score = match at {
                TokenScoreAt::Logits(_) => Some(next()).filter(TokenScore::is_of_distribution),
                TokenScoreAt::Held(held) => held.get().cloned(),
            };
            score.map_or_else(|| not_finite("logits"), |score| News::Token { choice, id: token, score: Some(score) })
        }
        Event::Drafted { choice, drafted, accepted, .. } => News::Drafted { choice, drafted, accepted },
        Event::Rated { choice, rating, .. } => News::Rated { choice, rating },
        Event::Finished { choice, reason, .. } => News::Finished { choice, reason },
        Event::Encoded { result, .. } => match std::mem::take(&mut encoded[result as usize]) {
            numbers if numbers.iter().all(|number| number.is_finite()) => News::Encoded { numbers },
            _ => not_finite("encoder states"),
        },
        Event::Failed { ref cause, .. } => match cause {
            NoToken::NothingLeft => News::Failed { message: NOTHING_LEFT.to_owned(), kind: FailureKind::Refused },
            NoToken::OutOfSteps => News::Failed { message: OUT_OF_STEPS.to_owned(), kind: FailureKind::Refused },
            NoToken::Unfollowed(error) => News::Failed { message: error.to_string(), kind: FailureKind::Refused },
            NoToken::NoThread { waited } => News::Failed {
                message: format!(
                    "no thread had time within {waited:?} to find what may come next in the form of the answer \
                     (limits.mask_queue_ms, limits.mask_threads); try again later"
                ),
                kind: FailureKind::Overloaded,
            },
            NoToken::NotFinite => not_finite("logits"),
        },
    };
    Some(Message { request: event.request(), news })
}

/// Tells a client that numbers for its request are not finite.
fn not_finite(numbers: &str) -> News {
    News::Failed { message: format!("the model gave no finite {numbers} for this request"), kind: FailureKind::Lasting }
}
