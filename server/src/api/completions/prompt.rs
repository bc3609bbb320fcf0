//! `prompt` and `decoder_prompt`: text or token ids, one or several.
//!
//! Read by `draft`. It checks forms and ids; nothing is tokenised here.

use serde::de::SeqAccess;

use super::ids::{IdBounds, IdReader, Ids};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape, Shaped, skip_rest};

/// A source, or the beginning of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text to be tokenised.
    Text(String),
    /// Ids that are taken as they are.
    Ids(Vec<u32>),
}

impl Prompt {
    /// Number of start tokens that it brings, 0 or 1: that one is left out, because the engine adds it.
    pub fn start_tokens(&self, start_token: u32) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Ids(ids) => usize::from(ids.first() == Some(&start_token)),
        }
    }
}

/// Names of a request's prompts in errors.
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

/// Bounds of `prompt`.
#[derive(Debug, Clone, Copy)]
pub struct PromptBounds {
    /// Most prompts of one request.
    pub prompts: usize,
    /// Bounds of each prompt's ids.
    pub ids: IdBounds,
}

/// `prompt` as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// At least one.
    pub list: Vec<Prompt>,
    /// Their names in errors.
    pub names: PromptNames,
    /// The first one with more ids than are taken.
    pub excess: Option<Excess>,
}

/// A prompt that is too long: not all of its ids were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Its index among the prompts.
    pub index: usize,
    /// Number of its ids.
    pub tokens: usize,
}

/// Reads `prompt` in its four forms; nothing comes of `null`.
pub struct PromptsShape(pub PromptBounds);

impl Shape for PromptsShape {
    type Read = Option<Result<Prompts, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        let list = vec![Prompt::Text(text.to_owned())];
        Some(Ok(Prompts { list, names: PromptNames::Single, excess: None }))
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let first = list.next_element_seed(Shaped(ElementShape { index: 0, bounds, texts_wanted: None }))?;
        let read = match first {
            None => Err(ApiError::Invalid { param: "prompt".to_owned(), problem: "must not be an empty list" }),
            Some(Element::Other(number @ Brief::Number(_))) => {
                let mut ids = IdReader::new("prompt".to_owned(), bounds.ids);
                ids.add(&number);
                ids.read(list)?.map(|ids| ListedPrompts::default().with(ids, bounds).named(PromptNames::Single))
            }
            Some(first) => several(first, list, bounds)?,
        };
        Ok(Some(read))
    }

    fn other(self, value: Brief) -> Self::Read {
        (value != Brief::Null).then(|| Err(wrong_form("prompt".to_owned(), PROMPT_FORMS, value.kind())))
    }
}

/// The prompts of a list that begins with `first`.
fn several<'de, A: SeqAccess<'de>>(
    first: Element,
    mut list: A,
    bounds: PromptBounds,
) -> Result<Result<Prompts, ApiError>, A::Error> {
    let are_texts = matches!(first, Element::Text(_));
    let mut read = ListedPrompts::default().and(first, are_texts, bounds);
    let mut count = 1;
    while count < bounds.prompts
        && let Ok(before) = read
    {
        let shape = ElementShape { index: count, bounds, texts_wanted: Some(are_texts) };
        let Some(element) = list.next_element_seed(Shaped(shape))? else {
            return Ok(Ok(before.named(PromptNames::Listed)));
        };
        read = before.and(element, are_texts, bounds);
        count += 1;
    }
    count += skip_rest(list)?;
    if count > bounds.prompts {
        return Ok(Err(ApiError::TooMany { param: "prompt", count, unit: "prompts", limit: bounds.prompts }));
    }
    Ok(read.map(|read| read.named(PromptNames::Listed)))
}

/// The prompts read so far.
#[derive(Debug, Default)]
struct ListedPrompts {
    list: Vec<Prompt>,
    excess: Option<Excess>,
}

impl ListedPrompts {
    fn with(mut self, ids: Ids, bounds: PromptBounds) -> Self {
        if ids.count > bounds.ids.most && self.excess.is_none() {
            self.excess = Some(Excess { index: self.list.len(), tokens: ids.count });
        }
        self.list.push(Prompt::Ids(ids.kept));
        self
    }

    fn and(mut self, element: Element, are_texts: bool, bounds: PromptBounds) -> Result<Self, ApiError> {
        let index = self.list.len();
        let param = || PromptNames::Listed.of(index);
        let kind = match element {
            Element::Text(text) if are_texts => {
                self.list.push(Prompt::Text(text));
                return Ok(self);
            }
            Element::Ids(ids) if !are_texts => {
                let ids = ids?;
                if ids.count == 0 {
                    return Err(ApiError::Invalid { param: param(), problem: "must not be an empty list" });
                }
                return Ok(self.with(ids, bounds));
            }
            Element::Text(_) => "a string",
            Element::Ids(_) => "a list",
            Element::Other(value) => value.kind(),
        };
        let expected = match (are_texts, index) {
            (true, _) => "a string, as the others of the list",
            (false, 0) => "a string, a token id or a list of token ids",
            (false, _) => "a list of token ids, as the others of the list",
        };
        Err(wrong_form(param(), expected, kind))
    }

    fn named(self, names: PromptNames) -> Prompts {
        Prompts { list: self.list, names, excess: self.excess }
    }
}

/// An element of the list of prompts.
enum Element {
    Text(String),
    Ids(Result<Ids, ApiError>),
    Other(Brief),
}

/// Keeps what is wanted of it.
struct ElementShape {
    index: usize,
    bounds: PromptBounds,
    /// Whether the list is one of texts, once that is known.
    texts_wanted: Option<bool>,
}

impl Shape for ElementShape {
    type Read = Element;

    fn text(self, text: &str) -> Element {
        Element::Text(if self.texts_wanted == Some(false) { String::new() } else { text.to_owned() })
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
        let ids = IdReader::new(PromptNames::Listed.of(self.index), self.bounds.ids);
        ids.read(list).map(Element::Ids)
    }

    fn other(self, value: Brief) -> Element {
        Element::Other(value)
    }
}

/// `decoder_prompt` as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderPrompt {
    /// The text or the ids.
    pub prompt: Prompt,
    /// Number of its ids, where that is too many.
    pub excess: Option<usize>,
}

/// Reads `decoder_prompt`: a string, or ids; nothing comes of `null`.
pub struct DecoderPromptShape(pub IdBounds);

impl Shape for DecoderPromptShape {
    type Read = Option<Result<DecoderPrompt, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        Some(Ok(DecoderPrompt { prompt: Prompt::Text(text.to_owned()), excess: None }))
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let read = IdReader::new("decoder_prompt".to_owned(), bounds).read(list)?;
        let prompt = |Ids { kept, count }| DecoderPrompt {
            prompt: Prompt::Ids(kept),
            excess: (count > bounds.most).then_some(count),
        };
        Ok(Some(read.map(prompt)))
    }

    fn other(self, value: Brief) -> Self::Read {
        let expected = "a string or a list of token ids";
        (value != Brief::Null).then(|| Err(wrong_form("decoder_prompt".to_owned(), expected, value.kind())))
    }
}

const fn wrong_form(param: String, expected: &'static str, found: &'static str) -> ApiError {
    ApiError::WrongType { param, expected, found }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;
    use serde_json::{Value, json};

    use super::*;

    const IDS: IdBounds = IdBounds { vocab: 100, most: 6 };
    const BOUNDS: PromptBounds = PromptBounds { prompts: 3, ids: IDS };

    fn read(value: &Value) -> Result<Prompts, ApiError> {
        Shaped(PromptsShape(BOUNDS)).deserialize(value).unwrap().expect("not null")
    }

    fn prompts(value: Value) -> Result<(Vec<Prompt>, PromptNames), ApiError> {
        let read = read(&value)?;
        assert_eq!(read.excess, None);
        Ok((read.list, read.names))
    }

    fn decoder_prompt(value: &Value) -> Result<DecoderPrompt, ApiError> {
        Shaped(DecoderPromptShape(IDS)).deserialize(value).unwrap().expect("not null")
    }

    fn text(value: &str) -> Prompt {
        Prompt::Text(value.to_owned())
    }

    #[test]
    fn all_four_forms_of_prompt_are_read() {
        use PromptNames::{Listed, Single};
        assert_eq!(prompts(json!("a")), Ok((vec![text("a")], Single)));
        assert_eq!(prompts(json!(["a"])), Ok((vec![text("a")], Listed)));
        assert_eq!(prompts(json!(["a", ""])), Ok((vec![text("a"), text("")], Listed)));
        assert_eq!(prompts(json!([0, 99])), Ok((vec![Prompt::Ids(vec![0, 99])], Single)));
        let both = vec![Prompt::Ids(vec![5]), Prompt::Ids(vec![6, 7])];
        assert_eq!(prompts(json!([[5], [6, 7]])), Ok((both, Listed)));
        // A list of more ids than prompts are allowed is one prompt.
        assert!(prompts(json!([1, 2, 3, 4, 5])).is_ok());
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
            let error = prompts(value.clone()).expect_err("refused");
            assert!(error.to_string().contains(place), "{value}: {error}");
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_named() {
        for id in [100_u64, u64::from(u32::MAX) + 1, u64::MAX] {
            let error = decoder_prompt(&json!([3, id])).expect_err("refused");
            assert_eq!(error, ApiError::UnknownToken { param: "decoder_prompt[1]".to_owned(), id, vocab: 100 });
        }
    }

    #[test]
    fn of_lists_that_are_too_long_the_rest_is_counted_and_still_checked() {
        let ids = |count: usize| vec![7; count];
        let most = read(&json!(ids(6))).unwrap();
        assert_eq!((most.list, most.excess), (vec![Prompt::Ids(ids(6))], None));
        let more = read(&json!(ids(1000))).unwrap();
        assert_eq!((more.list, more.excess), (vec![Prompt::Ids(ids(6))], Some(Excess { index: 0, tokens: 1000 })));
        let second = read(&json!([[1], ids(7), ids(8)])).unwrap();
        assert_eq!(second.excess, Some(Excess { index: 1, tokens: 7 }));
        let target = decoder_prompt(&json!(ids(7))).unwrap();
        assert_eq!((target.prompt, target.excess), (Prompt::Ids(ids(6)), Some(7)));
        let unknown = [ids(20), vec![100]].concat();
        let error = read(&json!([ids(20), unknown])).expect_err("refused");
        assert!(error.to_string().contains("'prompt[1][20]'"), "{error}");
    }

    #[test]
    fn whatever_else_is_in_it_a_list_of_too_many_prompts_is_told_its_length() {
        for list in [json!([[], [], [], []]), json!(["a", 1, 2, 3]), json!([null, 1, 2, 3])] {
            assert!(matches!(read(&list), Err(ApiError::TooMany { count: 4, limit: 3, .. })), "{list}");
        }
    }
}
