//! Prompts: text or token ids, one or several.
//!
//! Read by the rooms of endpoints, under the name of their field. It checks forms and ids; nothing is tokenised here.

use serde::de::SeqAccess;

use super::ids::{IdBounds, IdReader, Ids};
use super::prompt::{Prompt, PromptNames};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape, Shaped, skip_rest};

const PROMPT_FORMS: &str = "a string, a list of strings, a list of token ids or a list of lists of token ids";

/// Bounds of a field of prompts.
#[derive(Debug, Clone, Copy)]
pub struct PromptBounds {
    /// Most prompts of one request.
    pub prompts: usize,
    /// Bounds of each prompt's ids.
    pub ids: IdBounds,
}

/// Prompts as they were given.
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

/// Reads prompts in their four forms; nothing comes of `null`.
#[derive(Debug, Clone, Copy)]
pub struct PromptsShape {
    /// Name of the field.
    pub param: &'static str,
    /// Bounds of its prompts.
    pub bounds: PromptBounds,
    /// Whether an empty list is a prompt without tokens.
    pub takes_empty: bool,
}

impl Shape for PromptsShape {
    type Read = Option<Result<Prompts, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        let list = vec![Prompt::Text(text.to_owned())];
        Some(Ok(Prompts { list, names: PromptNames::Single(self.param), excess: None }))
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let Self { param, bounds, takes_empty } = self;
        let first = list.next_element_seed(Shaped(ElementShape { index: 0, of: self, texts_wanted: None }))?;
        let read = match first {
            None if takes_empty => {
                Ok(ListedPrompts::default().with(Ids::default(), self).named(PromptNames::Single(param)))
            }
            None => Err(ApiError::Invalid { param: param.to_owned(), problem: "must not be an empty list" }),
            Some(Element::Other(number @ Brief::Number(_))) => {
                let mut ids = IdReader::new(param.to_owned(), bounds.ids);
                ids.add(&number);
                ids.read(list)?.map(|ids| ListedPrompts::default().with(ids, self).named(PromptNames::Single(param)))
            }
            Some(first) => several(first, list, self)?,
        };
        Ok(Some(read))
    }

    fn other(self, value: Brief) -> Self::Read {
        (value != Brief::Null).then(|| Err(wrong_form(self.param.to_owned(), PROMPT_FORMS, value.kind())))
    }
}

/// The prompts of a list that begins with `first`.
fn several<'de, A: SeqAccess<'de>>(
    first: Element,
    mut list: A,
    of: PromptsShape,
) -> Result<Result<Prompts, ApiError>, A::Error> {
    let PromptsShape { param, bounds, .. } = of;
    let are_texts = matches!(first, Element::Text(_));
    let mut read = ListedPrompts::default().and(first, are_texts, of);
    let mut count = 1;
    while count < bounds.prompts
        && let Ok(before) = read
    {
        let shape = ElementShape { index: count, of, texts_wanted: Some(are_texts) };
        let Some(element) = list.next_element_seed(Shaped(shape))? else {
            return Ok(Ok(before.named(PromptNames::Listed(param))));
        };
        read = before.and(element, are_texts, of);
        count += 1;
    }
    count += skip_rest(list)?;
    if count > bounds.prompts {
        return Ok(Err(ApiError::TooMany { param, count, unit: "prompts", limit: bounds.prompts }));
    }
    Ok(read.map(|read| read.named(PromptNames::Listed(param))))
}

/// The prompts read so far.
#[derive(Debug, Default)]
struct ListedPrompts {
    list: Vec<Prompt>,
    excess: Option<Excess>,
}

impl ListedPrompts {
    fn with(mut self, ids: Ids, of: PromptsShape) -> Self {
        if ids.count > of.bounds.ids.most && self.excess.is_none() {
            self.excess = Some(Excess { index: self.list.len(), tokens: ids.count });
        }
        self.list.push(Prompt::Ids(ids.kept));
        self
    }

    fn and(mut self, element: Element, are_texts: bool, of: PromptsShape) -> Result<Self, ApiError> {
        let index = self.list.len();
        let param = || PromptNames::Listed(of.param).of(index);
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
                return Ok(self.with(ids, of));
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
    of: PromptsShape,
    /// Whether the list is one of texts, once that is known.
    texts_wanted: Option<bool>,
}

impl Shape for ElementShape {
    type Read = Element;

    fn text(self, text: &str) -> Element {
        Element::Text(if self.texts_wanted == Some(false) { String::new() } else { text.to_owned() })
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
        let ids = IdReader::new(PromptNames::Listed(self.of.param).of(self.index), self.of.bounds.ids);
        ids.read(list).map(Element::Ids)
    }

    fn other(self, value: Brief) -> Element {
        Element::Other(value)
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
        Shaped(PromptsShape { param: "prompt", bounds: BOUNDS, takes_empty: false })
            .deserialize(value)
            .unwrap()
            .expect("not null")
    }

    fn prompts(value: Value) -> Result<(Vec<Prompt>, PromptNames), ApiError> {
        let read = read(&value)?;
        assert_eq!(read.excess, None);
        Ok((read.list, read.names))
    }

    fn text(value: &str) -> Prompt {
        Prompt::Text(value.to_owned())
    }

    #[test]
    fn all_four_forms_of_prompt_are_read() {
        let (single, listed) = (PromptNames::Single("prompt"), PromptNames::Listed("prompt"));
        assert_eq!(prompts(json!("a")), Ok((vec![text("a")], single)));
        assert_eq!(prompts(json!(["a"])), Ok((vec![text("a")], listed)));
        assert_eq!(prompts(json!(["a", ""])), Ok((vec![text("a"), text("")], listed)));
        assert_eq!(prompts(json!([0, 99])), Ok((vec![Prompt::Ids(vec![0, 99])], single)));
        let both = vec![Prompt::Ids(vec![5]), Prompt::Ids(vec![6, 7])];
        assert_eq!(prompts(json!([[5], [6, 7]])), Ok((both, listed)));
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
    fn of_lists_that_are_too_long_the_rest_is_counted_and_still_checked() {
        let ids = |count: usize| vec![7; count];
        let most = read(&json!(ids(6))).unwrap();
        assert_eq!((most.list, most.excess), (vec![Prompt::Ids(ids(6))], None));
        let more = read(&json!(ids(1000))).unwrap();
        assert_eq!((more.list, more.excess), (vec![Prompt::Ids(ids(6))], Some(Excess { index: 0, tokens: 1000 })));
        let second = read(&json!([[1], ids(7), ids(8)])).unwrap();
        assert_eq!(second.excess, Some(Excess { index: 1, tokens: 7 }));
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
