//! The text of one branch of a beam search, as far as stop strings need it.
//!
//! Made by `generation`, asked by the engine. Follows a choice's rules, so that a hypothesis ends with the token with
//! which the text of its choice does.

use std::sync::Arc;

use model::Detokenizer;

use super::choice::ChoiceSettings;
use super::stop::StopMatcher;
use crate::request::{StopCheck, StopScan};

/// The text of a branch.
#[derive(Debug, Clone)]
struct BranchText {
    settings: Arc<ChoiceSettings>,
    detokenizer: Detokenizer,
    matcher: StopMatcher,
    generated: u32,
}

/// The check of these settings' stop strings; `None` without any, or without a tokenizer.
pub fn stop_check(settings: &Arc<ChoiceSettings>) -> Option<StopCheck> {
    if settings.stop.is_empty() {
        return None;
    }
    let detokenizer = settings.opening.detokenizer.clone()?;
    let matcher = StopMatcher::new(&settings.stop);
    Some(StopCheck::new(BranchText { settings: Arc::clone(settings), detokenizer, matcher, generated: 0 }))
}

impl StopScan for BranchText {
    fn fork(&self) -> Box<dyn StopScan> {
        Box::new(self.clone())
    }

    fn push(&mut self, token: u32) -> bool {
        self.generated += 1;
        if self.settings.silent_tokens.contains(&token) {
            return false;
        }
        // Text that comes out of the matcher is of no use here.
        let (text, mut passed) = (self.detokenizer.push(token), String::new());
        self.matcher.take(text, self.generated <= self.settings.min_tokens, &mut passed);
        self.matcher.stopped()
    }
}
