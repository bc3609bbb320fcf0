//! From the encoder's part of `config.json` to its stack, whether it stands inside an encoder-decoder or by itself.
//!
//! Called by the readers of encoder-decoders and of encoders alone. Adds every problem it finds.

use super::architecture::Generation;
use super::fields::{Fields, Problems};
use super::stack::StackConfig;
use super::stack_fields::{StackFields, read_stack};

/// Part of a T5Gemma 2's encoder that describes its layers; its image tower stands beside.
const TEXT: &str = "text_config";
/// Field of the token that ends an image.
pub(super) const END_OF_IMAGE: &str = "eoi_token_index";
/// Token that ends an image where no field names one: transformers' default.
pub(super) const DEFAULT_END_OF_IMAGE: u32 = 256_000;

/// The fields that an encoder is read from.
pub(super) struct EncoderFields<'a, 'f> {
    /// Fields of the encoder itself.
    pub encoder: &'a Fields<'f>,
    /// Fields around them.
    pub top: &'a Fields<'f>,
    /// Fields of the decoder beside, if there are any.
    pub decoder: Option<&'a Fields<'f>>,
    /// Generation of its layers.
    pub layers: Generation,
}

/// Reads the stack of an encoder. `None` only when a problem was added.
pub(super) fn read_encoder(fields: &EncoderFields<'_, '_>, problems: &mut Problems) -> Option<StackConfig> {
    let &EncoderFields { encoder, top, decoder: other, layers } = fields;
    let text = if layers == Generation::Gemma3 { encoder.object(TEXT, problems) } else { None };
    let fields = text.as_ref().unwrap_or(encoder);
    let stack = read_stack(&StackFields { fields, top, other, layers }, problems)?;
    if layers == Generation::Gemma2 {
        return Some(stack);
    }
    let mut named = [encoder, top].into_iter();
    let token = named.find_map(|place| place.token(END_OF_IMAGE, None, problems));
    let token = token.unwrap_or(DEFAULT_END_OF_IMAGE);
    // A vocabulary that ends before it has no such token, and the vector is never looked up.
    Some(StackConfig { own_row_token: ((token as usize) < stack.vocab).then_some(token), ..stack })
}

/// The fields that describe the layers of an encoder.
pub(super) fn layer_fields<'a>(encoder: &Fields<'a>) -> Option<Fields<'a>> {
    encoder.object(TEXT, &mut Problems::default())
}
