//! From what a request says to token ids: tokenising, with bounds checked before and after.
//!
//! Run by `admission` on the model's threads for tokenising. Blocking and pure.

use model::Tokenizer;

use super::call::{GenerationCall, Sources};
use crate::api::answers::{DecoderTokens, Opening};
use crate::api::fields::Prompt;
use crate::api::http::ApiError;
use crate::registry::ServedModel;

/// The texts and ids of a request, before tokenising.
#[derive(Debug)]
pub struct Texts {
    /// Sources, at least one.
    pub sources: Sources,
    /// Beginning of every target.
    pub decoder_prompt: Option<Prompt>,
    /// Whether the tokenizer frames the sources.
    pub add_special_tokens: bool,
    /// Whether the answer begins with the decoder prompt.
    pub echo: bool,
}

/// Token ids of a request.
#[derive(Debug)]
pub struct TokenisedCall {
    /// Encoder ids of each prompt, none empty.
    pub sources: Vec<Vec<u32>>,
    /// Decoder ids that every choice begins with, without the start token.
    pub decoder_prompt: Vec<u32>,
    /// The decoder ids as text.
    pub opening: Opening,
}

impl Texts {
    /// Takes the texts out of a call.
    pub fn take_from(asked: &mut GenerationCall) -> Self {
        let names = asked.sources.names;
        Self {
            sources: std::mem::replace(&mut asked.sources, Sources { prompts: Vec::new(), names }),
            decoder_prompt: asked.decoder_prompt.take(),
            add_special_tokens: asked.add_special_tokens,
            echo: asked.echo,
        }
    }
}

/// Bytes of a text for each token it may become, where the tokenizer gives no bound: more than any word of a natural
/// language has.
const BYTES_PER_TOKEN: usize = 64;

/// Refuses texts that could not fit whatever their tokens are, without tokenising them.
pub fn check_texts(asked: &GenerationCall, model: &ServedModel) -> Result<(), ApiError> {
    let Some(tokenizer) = &model.tokenizer else { return Ok(()) };
    for (index, prompt) in asked.sources.prompts.iter().enumerate() {
        if let Prompt::Text(text) = prompt {
            check_text(text, tokenizer, model.limits().source_tokens, || asked.sources.names.of(index))?;
        }
    }
    match &asked.decoder_prompt {
        Some(Prompt::Text(text)) => {
            check_text(text, tokenizer, model.limits().target_tokens, || "decoder_prompt".to_owned())
        }
        Some(Prompt::Ids(_)) | None => Ok(()),
    }
}

/// Merging pieces takes longer than the text grows, so a text that cannot fit is never begun.
fn check_text(text: &str, tokenizer: &Tokenizer, limit: usize, param: impl Fn() -> String) -> Result<(), ApiError> {
    let most_bytes = limit.saturating_mul(BYTES_PER_TOKEN);
    if tokenizer.longest_piece_bytes().is_none() && text.len() > most_bytes {
        return Err(ApiError::TextTooManyBytes { param: param(), bytes: text.len(), limit: most_bytes, tokens: limit });
    }
    let tokens = tokenizer.fewest_tokens(text);
    if tokens > limit { Err(ApiError::TextTooLong { param: param(), tokens, limit }) } else { Ok(()) }
}

/// Tokenises whatever is text; [`check_texts`] has passed it.
pub fn tokenise(texts: Texts, model: &ServedModel) -> Result<TokenisedCall, ApiError> {
    let Texts { sources: Sources { prompts, names }, decoder_prompt, add_special_tokens, echo } = texts;
    let source = |(index, prompt): (usize, Prompt)| {
        let param = || names.of(index);
        let ids = match prompt {
            Prompt::Ids(ids) => ids,
            Prompt::Text(text) => {
                let field = TextField { param: param(), add_special_tokens, vocab: model.source_vocab };
                field.ids(&text, tokenizer(model, "prompt")?)?
            }
        };
        if ids.is_empty() {
            return Err(ApiError::Invalid { param: param(), problem: "has no tokens" });
        }
        Ok(ids)
    };
    let sources = prompts.into_iter().enumerate().map(source).collect::<Result<_, _>>()?;
    let (decoder_prompt, opening) = begin(decoder_prompt, echo, model)?;
    Ok(TokenisedCall { sources, decoder_prompt, opening })
}

fn begin(prompt: Option<Prompt>, echo: bool, model: &ServedModel) -> Result<(Vec<u32>, Opening), ApiError> {
    let (mut ids, mut text) = match prompt {
        None => (Vec::new(), None),
        Some(Prompt::Ids(ids)) => (ids, None),
        Some(Prompt::Text(text)) => {
            let field = TextField {
                param: "decoder_prompt".to_owned(),
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
    let opening = Opening::new(DecoderTokens { ids: &ids, text, is_echoed: echo }, model);
    Ok((ids, opening))
}

fn tokenizer<'a>(model: &'a ServedModel, param: &'static str) -> Result<&'a Tokenizer, ApiError> {
    model.tokenizer.as_deref().ok_or(ApiError::NeedsTokenizer { param, instead: "give token ids" })
}

/// A field of text on its way to ids.
struct TextField {
    param: String,
    add_special_tokens: bool,
    /// Number of ids that the model knows on that side.
    vocab: usize,
}

impl TextField {
    fn ids(&self, text: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, ApiError> {
        let encoded =
            if self.add_special_tokens { tokenizer.encode_with_special_tokens(text) } else { tokenizer.encode(text) };
        let ids = encoded
            .map_err(|error| ApiError::Untokenizable { param: self.param.clone(), problem: error.to_string() })?;
        match ids.iter().find(|&&id| id as usize >= self.vocab) {
            None => Ok(ids),
            Some(&id) => {
                Err(ApiError::UnknownToken { param: self.param.clone(), id: u64::from(id), vocab: self.vocab })
            }
        }
    }
}
