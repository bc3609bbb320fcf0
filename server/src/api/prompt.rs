//! `prompt` and `decoder_prompt`: text or token ids, one or several.
//!
//! Used by `request`. It checks forms and ids; nothing is tokenised here.

use serde_json::Value;

use super::error::ApiError;
use super::fields::{kind, whole_number};

/// One text to encode or to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// To be tokenised.
    Text(String),
    /// Taken as they are.
    Ids(Vec<u32>),
}

/// How the prompts of a request are called in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptNames {
    /// One string or one list of ids: `prompt`.
    Single,
    /// `prompt[0]` and so on, though there may be only one.
    Listed,
}

impl PromptNames {
    /// The name of one of them.
    pub fn of(self, index: usize) -> String {
        match self {
            Self::Single => "prompt".to_owned(),
            Self::Listed => format!("prompt[{index}]"),
        }
    }
}

const PROMPT_FORMS: &str = "a string, a list of strings, a list of token ids or a list of lists of token ids";

/// What ids may be, and how many prompts.
#[derive(Debug, Clone, Copy)]
pub struct PromptBounds {
    /// Prompts of one request, at most.
    pub prompts: usize,
    /// Ids there are.
    pub vocab: usize,
}

/// Reads `prompt` in its four forms; at least one prompt comes back.
pub fn prompts(value: Value, bounds: PromptBounds) -> Result<(Vec<Prompt>, PromptNames), ApiError> {
    let list = match value {
        Value::String(text) => return Ok((vec![Prompt::Text(text)], PromptNames::Single)),
        Value::Array(list) => list,
        other => return Err(wrong_form("prompt".to_owned(), PROMPT_FORMS, &other)),
    };
    let is_ids = match list.first() {
        None => return Err(ApiError::Invalid { param: "prompt".to_owned(), problem: "must not be an empty list" }),
        Some(Value::Number(_)) => true,
        Some(_) => false,
    };
    if is_ids {
        return Ok((vec![Prompt::Ids(ids("prompt", list, bounds.vocab)?)], PromptNames::Single));
    }
    if list.len() > bounds.prompts {
        return Err(ApiError::TooMany { param: "prompt", count: list.len(), unit: "prompts", limit: bounds.prompts });
    }
    let are_texts = list[0].is_string();
    let one = |(index, value)| one_of_list(index, value, are_texts, bounds.vocab);
    Ok((list.into_iter().enumerate().map(one).collect::<Result<_, _>>()?, PromptNames::Listed))
}

/// Reads `decoder_prompt`: a string, or ids.
pub fn decoder_prompt(value: Value, vocab: usize) -> Result<Prompt, ApiError> {
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(list) => Ok(Prompt::Ids(ids("decoder_prompt", list, vocab)?)),
        other => Err(wrong_form("decoder_prompt".to_owned(), "a string or a list of token ids", &other)),
    }
}

fn one_of_list(index: usize, value: Value, are_texts: bool, vocab: usize) -> Result<Prompt, ApiError> {
    let param = || format!("prompt[{index}]");
    match value {
        Value::String(text) if are_texts => Ok(Prompt::Text(text)),
        Value::Array(list) if !are_texts && list.is_empty() => {
            Err(ApiError::Invalid { param: param(), problem: "must not be an empty list" })
        }
        Value::Array(list) if !are_texts => Ok(Prompt::Ids(ids(&param(), list, vocab)?)),
        other if are_texts => Err(wrong_form(param(), "a string, as the others of the list", &other)),
        other if index == 0 => Err(wrong_form(param(), "a string, a token id or a list of token ids", &other)),
        other => Err(wrong_form(param(), "a list of token ids, as the others of the list", &other)),
    }
}

fn ids(param: &str, list: Vec<Value>, vocab: usize) -> Result<Vec<u32>, ApiError> {
    let id = |(index, value): (usize, Value)| {
        let name = || format!("{param}[{index}]");
        let number = whole_number(&value).ok_or_else(|| wrong_form(name(), "a token id", &value))?;
        let Ok(id) = u64::try_from(number) else {
            return Err(ApiError::Invalid { param: name(), problem: "must be a token id: ids are not negative" });
        };
        match u32::try_from(id) {
            Ok(known) if (known as usize) < vocab => Ok(known),
            _ => Err(ApiError::UnknownToken { param: name(), id, vocab }),
        }
    };
    list.into_iter().enumerate().map(id).collect()
}

fn wrong_form(param: String, expected: &'static str, found: &Value) -> ApiError {
    ApiError::WrongType { param, expected, found: kind(found) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: PromptBounds = PromptBounds { prompts: 3, vocab: 100 };

    fn text(value: &str) -> Prompt {
        Prompt::Text(value.to_owned())
    }

    #[test]
    fn all_four_forms_of_prompt_are_read() {
        use PromptNames::{Listed, Single};
        assert_eq!(prompts(json!("a"), BOUNDS), Ok((vec![text("a")], Single)));
        assert_eq!(prompts(json!(["a"]), BOUNDS), Ok((vec![text("a")], Listed)));
        assert_eq!(prompts(json!(["a", ""]), BOUNDS), Ok((vec![text("a"), text("")], Listed)));
        assert_eq!(prompts(json!([0, 99]), BOUNDS), Ok((vec![Prompt::Ids(vec![0, 99])], Single)));
        let both = vec![Prompt::Ids(vec![5]), Prompt::Ids(vec![6, 7])];
        assert_eq!(prompts(json!([[5], [6, 7]]), BOUNDS), Ok((both, Listed)));
        // A list of more ids than prompts are allowed is one prompt.
        assert!(prompts(json!([1, 2, 3, 4, 5]), BOUNDS).is_ok());
    }

    #[test]
    fn empty_mixed_and_misshapen_prompts_are_refused_by_place() {
        for (value, place) in [
            (json!([]), "'prompt'"),
            (json!([[]]), "'prompt[0]'"),
            (json!([[1], []]), "'prompt[1]'"),
            (json!(["a", 1]), "'prompt[1]'"),
            (json!([1, "a"]), "'prompt[1]'"),
            (json!([[1], 2]), "'prompt[1]'"),
            (json!(["a", [1]]), "'prompt[1]'"),
            (json!([null]), "'prompt[0]'"),
            (json!([[1, "a"]]), "'prompt[0][1]'"),
            (json!([[[1]]]), "'prompt[0][0]'"),
            (json!([1, 2.5]), "'prompt[1]'"),
            (json!([1, -2]), "'prompt[1]'"),
            (json!([1, true]), "'prompt[1]'"),
            (json!(7), "'prompt'"),
            (json!({}), "'prompt'"),
            (json!(["a", "b", "c", "d"]), "'prompt' holds 4 prompts"),
        ] {
            let error = prompts(value.clone(), BOUNDS).expect_err("refused");
            assert!(error.to_string().contains(place), "{value}: {error}");
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_named() {
        for id in [100_u64, u64::from(u32::MAX) + 1, u64::MAX] {
            let error = decoder_prompt(json!([3, id]), 100).expect_err("refused");
            assert_eq!(error, ApiError::UnknownToken { param: "decoder_prompt[1]".to_owned(), id, vocab: 100 });
        }
    }
}
