//! The field `post_processor` of a `tokenizer.json`: the special tokens around a text.
//!
//! Parsed by `file`.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::TokenizerProblem;
use crate::tokenizer::pieces::Pieces;

type Result<T> = std::result::Result<T, TokenizerProblem>;

/// Ids of special tokens around a text.
#[derive(Debug, Default)]
pub struct Frame {
    pub before: Vec<u32>,
    pub after: Vec<u32>,
}

/// The post-processor, which puts special tokens around a text.
#[derive(Deserialize)]
pub struct Template {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    single: Vec<TemplatePiece>,
    #[serde(default)]
    special_tokens: HashMap<String, TemplateToken>,
}

#[derive(Deserialize)]
enum TemplatePiece {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
struct TemplateToken {
    ids: Vec<u32>,
}

impl Template {
    /// The ids around a single text.
    pub fn around(&self, pieces: &Pieces) -> Result<Frame> {
        if self.kind != "TemplateProcessing" {
            return Err(TokenizerProblem::refused(format!(
                "its post-processor is {}, not TemplateProcessing",
                self.kind
            )));
        }
        let mut frame = Frame::default();
        let mut texts = 0;
        for piece in &self.single {
            match piece {
                TemplatePiece::Sequence { id } if id == "A" => texts += 1,
                TemplatePiece::Sequence { id } => {
                    return Err(TokenizerProblem::refused(format!("its template for one text asks for a text {id:?}")));
                }
                TemplatePiece::SpecialToken { id } => {
                    let token = self.special_tokens.get(id);
                    let token = token
                        .ok_or_else(|| TokenizerProblem::refused(format!("its template lacks the token {id:?}")))?;
                    if token.ids.iter().any(|&id| pieces.get(id).is_none()) {
                        return Err(TokenizerProblem::refused(format!(
                            "its template's token {id:?} has ids that it lacks"
                        )));
                    }
                    if texts == 0 { frame.before.extend(&token.ids) } else { frame.after.extend(&token.ids) }
                }
            }
        }
        if texts == 1 { Ok(frame) } else { Err(TokenizerProblem::refused("its template does not hold the text once")) }
    }
}
