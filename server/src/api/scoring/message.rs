//! The JSON of scores: vLLM's list, and the ranking that Cohere, Jina and vLLM share.
//!
//! Used by `handler`.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::ScoresForm;
use super::tokenise::Tokens;
use crate::api::answers::Heading;

/// The answer with `scores`, one for each pair.
pub fn message(form: &ScoresForm, scores: &[f64], model: &str, tokens: &Tokens) -> String {
    let usage = ScoringUsage::of(tokens);
    let text = match form {
        ScoresForm::Scores => {
            let Heading { id, created, model } = Heading::new("score-", model);
            let data = scores.iter().enumerate().map(|(index, &score)| Score { index, object: "score", score });
            serde_json::to_string(&ScoresMessage { id, object: "list", created, model, data: data.collect(), usage })
        }
        ScoresForm::Ranking { most, documents } => {
            let Heading { id, model, .. } = Heading::new("rerank-", model);
            let best = order(scores).into_iter().take(most.unwrap_or(usize::MAX));
            let results = best.map(|index| Ranked {
                index,
                document: documents.as_ref().map(|documents| Document { text: &documents[index] }),
                relevance_score: scores[index],
            });
            serde_json::to_string(&RankingMessage { id, model, usage, results: results.collect() })
        }
    };
    text.expect("strings and numbers serialise")
}

/// Indices from the highest score to the lowest; equal ones keep their order.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
    order
}

/// The answer to a scoring request.
#[derive(Serialize, ToSchema)]
pub struct ScoresMessage {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<Score>,
    usage: ScoringUsage,
}

#[derive(Serialize, ToSchema)]
struct Score {
    index: usize,
    object: &'static str,
    score: f64,
}

/// The answer to a reranking request.
#[derive(Serialize, ToSchema)]
pub struct RankingMessage<'a> {
    id: String,
    model: String,
    usage: ScoringUsage,
    results: Vec<Ranked<'a>>,
}

#[derive(Serialize, ToSchema)]
struct Ranked<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document<'a>>,
    relevance_score: f64,
}

#[derive(Serialize, ToSchema)]
struct Document<'a> {
    text: &'a str,
}

/// Tokens of all texts, each counted once.
#[derive(Serialize, ToSchema)]
struct ScoringUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl ScoringUsage {
    fn of(tokens: &Tokens) -> Self {
        let all = tokens.sources.iter().chain(&tokens.targets).map(|text| text.len()).sum();
        Self { prompt_tokens: all, total_tokens: all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_comes_first_and_equal_ones_keep_their_order() {
        assert_eq!(order(&[-3.0, -1.0, -2.0, -1.0]), [1, 3, 2, 0]);
    }
}
