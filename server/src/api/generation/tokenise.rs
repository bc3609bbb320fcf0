//! From what a request says to token ids: tokenising, with bounds checked before and after.
//!
//! Run by `admission` on the model's threads for tokenising. Blocking and pure.

use std::sync::Arc;

use super::call::{CallNames, CallSources, GenerationCall};
use super::infilling::{Gap, SourceAround, check_gap};
use crate::api::answers::{DecoderTokens, Opening};
use crate::api::controls::{GivenControls, Settling, word_ids};
use crate::api::fields::{Prompt, PromptNames};
use crate::api::http::ApiError;
use crate::api::texts::{BYTES_PER_TOKEN, SourceOptions, SourceTokens, Sources, TextField, check_text, tokenizer};
use crate::chat_template::{Conversation, RenderError};
use crate::registry::ServedModel;
use crate::request::{Constraint, Controls};

/// The texts and ids of a request, before tokenising.
#[derive(Debug)]
pub struct Texts {
    /// Sources, at least one.
    pub sources: CallSources,
    /// The gap after each of them.
    pub gap: Option<Gap>,
    /// Beginnings of targets.
    pub beginnings: Vec<Prompt>,
    /// Their names in errors.
    pub names: CallNames,
    /// Whether the tokenizer frames the sources; as the chat template needs it when absent.
    pub add_special_tokens: Option<bool>,
    /// Whether the answer begins with the decoder prompt.
    pub echo: bool,
    /// Controls, whose words may be texts.
    pub controls: GivenControls,
    /// Number of tokens before which no end token is chosen.
    pub min_tokens: Option<u32>,
    /// Whether special tokens leave no trace in the text.
    pub skip_special: bool,
}

/// The beginning of targets.
#[derive(Debug)]
pub struct Beginning {
    /// Decoder ids that the choices begin with, without the start token.
    pub ids: Vec<u32>,
    /// Their text.
    pub opening: Opening,
}

/// Token ids of a request.
#[derive(Debug)]
pub struct TokenisedCall {
    /// The sources.
    pub sources: Vec<SourceTokens>,
    /// Texts around those of the sources.
    pub around: SourceAround,
    /// Beginnings of targets, at least one.
    pub beginnings: Vec<Beginning>,
    /// Settled controls, which every draw keeps to.
    pub controls: Arc<Controls>,
    /// The form of the text, compiled.
    pub constraint: Option<Constraint>,
}

impl TokenisedCall {
    /// Numbers of tokens of the sources.
    pub fn source_lengths(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().map(|source| source.ids.len())
    }

    /// Numbers of tokens of the beginnings of targets.
    pub fn beginning_lengths(&self) -> Vec<usize> {
        self.beginnings.iter().map(|beginning| beginning.ids.len()).collect()
    }

    /// The largest of them.
    pub fn longest_beginning(&self) -> usize {
        self.beginning_lengths().into_iter().max().unwrap_or_default()
    }
}

impl Texts {
    /// Takes the texts out of a call.
    pub fn take_from(asked: &mut GenerationCall) -> Self {
        let empty = Sources { prompts: Vec::new(), names: asked.sources.names() };
        Self {
            sources: std::mem::replace(&mut asked.sources, CallSources::Prompts(empty)),
            gap: Gap::take_from(asked),
            beginnings: std::mem::take(&mut asked.beginnings),
            names: asked.names.clone(),
            add_special_tokens: asked.add_special_tokens,
            echo: asked.echo,
            controls: std::mem::take(&mut asked.controls),
            min_tokens: asked.min_tokens,
            skip_special: asked.text_options.skip_special,
        }
    }
}

/// Refuses texts that could not fit whatever their tokens are, without tokenising them.
pub fn check_texts(asked: &GenerationCall, model: &ServedModel) -> Result<(), ApiError> {
    if let CallSources::Prompts(sources) = &asked.sources {
        sources.check_texts(None, model)?;
    }
    if let Some(suffix) = &asked.suffix {
        check_gap(suffix, asked, model)?;
    }
    let Some(tokenizer) = &model.tokenizer else { return Ok(()) };
    for (index, beginning) in asked.beginnings.iter().enumerate() {
        if let Prompt::Text(text) = beginning {
            check_text(text, tokenizer, model.limits().target_tokens, || asked.names.beginning(index))?;
        }
    }
    Ok(())
}

/// Tokenises whatever is text; [`check_texts`] has passed it.
pub fn tokenise(texts: Texts, model: &ServedModel) -> Result<TokenisedCall, ApiError> {
    let Texts { sources, gap, beginnings, names, add_special_tokens, echo, controls, min_tokens, skip_special } = texts;
    let (mut beginnings, mut controls) = (beginnings, controls);
    let options =
        |otherwise| SourceOptions { add_special_tokens: add_special_tokens.unwrap_or(otherwise), truncation: None };
    let source_names = sources.names();
    let mut sources = match sources {
        CallSources::Prompts(sources) => sources.tokens(options(true), model)?,
        CallSources::Conversation(conversation) => {
            let names = PromptNames::Single(conversation.param);
            let text = Prompt::Text(render_conversation(&conversation, model)?);
            Sources { prompts: vec![text], names }.tokens(options(model.chat.needs_frame()), model)?
        }
    };
    let mut around = SourceAround::default();
    if let Some(gap) = gap {
        let infilled = gap.fill(&mut sources, source_names, model)?;
        beginnings = vec![Prompt::Ids(vec![infilled.beginning])];
        controls.stop_tokens.extend(infilled.ends);
        controls.banned = infilled.banned;
        around = infilled.around;
    }
    let begin = |index: usize, prompt| {
        let text = BeginningText { param: &names.beginning(index), is_echoed: echo, shows_special: !skip_special };
        begin(prompt, text, model)
    };
    let beginnings = match beginnings.len() {
        0 => vec![begin(0, None)?],
        _ => {
            let given = beginnings.into_iter().enumerate();
            given.map(|(index, prompt)| begin(index, Some(prompt))).collect::<Result<_, _>>()?
        }
    };
    let longest = beginnings.iter().map(|beginning: &Beginning| beginning.ids.len()).max().unwrap_or_default();
    let default = || model.defaults.least_tokens.map_or(0, |limit| limit.generated(longest));
    let controls = Arc::new(settled_controls(controls, min_tokens.unwrap_or_else(default), model)?);
    Ok(TokenisedCall { sources, around, beginnings, controls, constraint: None })
}

/// The controls of a request over those of its model, with words as ids.
fn settled_controls(mut given: GivenControls, min_tokens: u32, model: &ServedModel) -> Result<Controls, ApiError> {
    let ids = |words| word_ids(words, model.tokenizer.as_deref(), model.target_vocab);
    let bad_words = given.bad_words.take().map(ids).transpose()?;
    let held_back = if min_tokens > 0 { [&model.end_tokens[..], &given.stop_tokens].concat() } else { Vec::new() };
    Settling { defaults: &model.defaults.controls, bad_words, held_back: &held_back }.settle(given)
}

/// The text that the model's chat template makes of a conversation, which may fit.
///
/// # Errors
/// When the template refuses the conversation, or makes a text that cannot fit.
pub fn render_conversation(conversation: &Conversation, model: &ServedModel) -> Result<String, ApiError> {
    let (tokenizer, limit) = (tokenizer(model, conversation.param)?, model.limits().source_tokens);
    // A mark of a space takes three bytes of text and counts as one.
    let token_bytes = tokenizer.longest_piece_bytes().map_or(BYTES_PER_TOKEN, |longest| 3 * longest);
    let limit_bytes = limit.saturating_mul(token_bytes);
    let param = || conversation.param.to_owned();
    let text = model.chat.render(conversation, limit_bytes).map_err(|error| match error {
        RenderError::TooLong { .. } => ApiError::TextTooLong { param: param(), tokens: limit + 1, limit },
        error => ApiError::ChatTemplate { param: param(), problem: error.to_string() },
    })?;
    check_text(&text, tokenizer, limit, param)?;
    Ok(text)
}

/// Facts of the beginning of a target.
struct BeginningText<'a> {
    /// Its name in errors.
    param: &'a str,
    /// Whether the answer begins with it.
    is_echoed: bool,
    /// Whether special tokens are written by name.
    shows_special: bool,
}

fn begin(prompt: Option<Prompt>, of: BeginningText<'_>, model: &ServedModel) -> Result<Beginning, ApiError> {
    let (mut ids, mut text) = match prompt {
        None => (Vec::new(), None),
        Some(Prompt::Ids(ids)) => (ids, None),
        Some(Prompt::Text(text)) => {
            let field = TextField {
                param: of.param.to_owned(),
                // The start token is put before it anyway, and an end token after it would be the end.
                add_special_tokens: false,
                vocab: model.target_vocab,
            };
            let ids = field.ids(&text, tokenizer(model, "decoder_prompt")?)?;
            (ids, Some(text))
        }
    };
    // The engine puts the start token first; ids that were taken from a whole sequence bring their own.
    if ids.first() == Some(&model.start_token) {
        ids.remove(0);
        // The echoed text has to begin where the first offset points to.
        let name = model.token_name(model.start_token);
        text = text.map(|text| text.strip_prefix(&name).map_or(text.clone(), str::to_owned));
    }
    let opening = Opening::new(
        DecoderTokens { ids: &ids, text, is_echoed: of.is_echoed, shows_special: of.shows_special },
        model,
    );
    Ok(Beginning { ids, opening })
}
