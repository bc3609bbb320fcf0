//! From one stack's part of `config.json` to a [`StackConfig`]: sizes, heads, rotary angles, softcaps, layer kinds.
//!
//! Called by the readers of each architecture, which write their stacks alike. Adds every problem it finds.

use super::architecture::Generation;
use super::fields::{Fields, Problems, brief};
use super::rope_fields::read_ropes;
use super::stack::{LayerKind, StackConfig, alternating};

/// Largest width, so that no product of sizes can overflow further on; the published models stay below 15,000.
const MAX_WIDTH: usize = 1 << 18;
/// Number of layers of which Gemma 3 has one full one.
const PERIOD: usize = 6;
/// Most layers of a stack.
pub(super) const MAX_LAYERS: usize = 1 << 12;
/// Most tokens, of a vocabulary or of a sequence.
const MAX_TOKENS: usize = 1 << 24;

/// The fields of a stack.
pub(super) struct StackFields<'a, 'f> {
    /// Fields of the stack itself.
    pub fields: &'a Fields<'f>,
    /// Fields of the model, where the vocabulary's size stands when the stack's own do not say it.
    pub top: &'a Fields<'f>,
    /// Fields of the model's other stack: some files give the softcaps of both only once.
    pub other: Option<&'a Fields<'f>>,
    /// Generation of its layers.
    pub layers: Generation,
}

/// `None` only when a problem was added.
pub(super) fn read_stack(stack: &StackFields<'_, '_>, problems: &mut Problems) -> Option<StackConfig> {
    let &StackFields { fields, top, layers: generation, .. } = stack;
    check_fixed_choices(fields, problems);
    let hidden = fields.size("hidden_size", MAX_WIDTH, problems);
    let intermediate = fields.size("intermediate_size", MAX_WIDTH, problems);
    let layers = fields.size("num_hidden_layers", MAX_LAYERS, problems);
    let heads = fields.size("num_attention_heads", MAX_LAYERS, problems);
    let kv_heads = fields.size("num_key_value_heads", MAX_LAYERS, problems);
    let head_dim = fields.size("head_dim", MAX_LAYERS, problems);
    let max_positions = fields.size("max_position_embeddings", MAX_TOKENS, problems);
    let writes_vocab = fields.get("vocab_size").is_some() || top.get("vocab_size").is_none();
    let vocab = if writes_vocab { fields } else { top }.size("vocab_size", MAX_TOKENS, problems);
    let query_pre_attn_scalar = fields.positive("query_pre_attn_scalar", problems);
    let rms_norm_eps = fields.positive("rms_norm_eps", problems);
    let ropes = read_ropes(fields, generation, problems);
    let (attn_softcap, final_softcap) = read_softcaps(stack, problems);
    let layer_kinds = layers.and_then(|layers| read_layer_kinds(fields, layers, generation, problems));
    let slides = layer_kinds.as_ref().is_none_or(|kinds| kinds.contains(&LayerKind::Sliding));
    let sliding_window = match fields.get("sliding_window") {
        None if !slides => max_positions,
        _ => fields.size("sliding_window", MAX_TOKENS, problems),
    };
    check_heads(fields, &Heads { heads, kv_heads, head_dim }, problems);

    Some(StackConfig {
        generation,
        hidden: hidden?,
        intermediate: intermediate?,
        layers: layers?,
        heads: heads?,
        kv_heads: kv_heads?,
        head_dim: head_dim?,
        query_pre_attn_scalar: query_pre_attn_scalar?,
        rms_norm_eps: rms_norm_eps?,
        ropes: ropes?,
        attn_softcap,
        final_softcap,
        sliding_window: sliding_window?,
        layer_kinds: layer_kinds?,
        vocab: vocab?,
        max_positions: max_positions?,
        own_row_token: None,
    })
}

/// Refuses choices that the configuration leaves open and that every published checkpoint makes alike.
fn check_fixed_choices(fields: &Fields<'_>, problems: &mut Problems) {
    // The older name stands beside the newer one in some files, where nobody reads it.
    let field = if fields.get("hidden_activation").is_some() { "hidden_activation" } else { "hidden_act" };
    if let Some(found) = fields.text(field, problems).filter(|found| *found != "gelu_pytorch_tanh") {
        problems.add(fields.name(field), format!("is {found:?}; only gelu_pytorch_tanh is supported"));
    }
    if fields.flag("attention_bias", problems) == Some(true) {
        problems.add(fields.name("attention_bias"), "is true; biases are not supported");
    }
}

struct Heads {
    heads: Option<usize>,
    kv_heads: Option<usize>,
    head_dim: Option<usize>,
}

fn check_heads(fields: &Fields<'_>, heads: &Heads, problems: &mut Problems) {
    if let (Some(heads), Some(kv_heads)) = (heads.heads, heads.kv_heads)
        && heads % kv_heads != 0
    {
        let reason = format!("is {heads}, not a multiple of num_key_value_heads ({kv_heads})");
        problems.add(fields.name("num_attention_heads"), reason);
    }
    if let Some(head_dim) = heads.head_dim.filter(|head_dim| head_dim % 2 != 0) {
        problems.add(fields.name("head_dim"), format!("is {head_dim}; rotary positions need an even one"));
    }
    if let (Some(heads), Some(head_dim)) = (heads.heads, heads.head_dim)
        && heads * head_dim > MAX_WIDTH
    {
        problems.add(fields.name("num_attention_heads"), format!("times head_dim is above {MAX_WIDTH}"));
    }
}

/// Null means no cap; an absent field would mean transformers' default, which a checkpoint must not lean on. The other
/// stack's cap counts where the stack's own fields do not name it, and then that of the model.
fn read_softcap(stack: &StackFields<'_, '_>, field: &str, problems: &mut Problems) -> Option<f32> {
    let places = [Some(stack.fields), stack.other, Some(stack.top)];
    let Some(place) = places.into_iter().flatten().find(|place| place.is_written(field)) else {
        problems.add(stack.fields.name(field), "is missing (null means no softcap)");
        return None;
    };
    place.positive_if_any(field, problems)
}

/// The softcaps of scores and of logits. Attention of the second generation has none, whatever the file says.
fn read_softcaps(stack: &StackFields<'_, '_>, problems: &mut Problems) -> (Option<f32>, Option<f32>) {
    match stack.layers {
        Generation::Gemma2 => {
            let scores = read_softcap(stack, "attn_logit_softcapping", problems);
            (scores, read_softcap(stack, "final_logit_softcapping", problems))
        }
        Generation::Gemma3 => (None, stack.fields.positive_if_any("final_logit_softcapping", problems)),
    }
}

fn read_layer_kinds(
    fields: &Fields<'_>,
    layers: usize,
    generation: Generation,
    problems: &mut Problems,
) -> Option<Vec<LayerKind>> {
    let Some(value) = fields.get("layer_types") else {
        let period = match generation {
            Generation::Gemma2 => 2,
            Generation::Gemma3 => read_period(fields, problems)?,
        };
        return Some(alternating(layers, period));
    };
    let Some(values) = value.as_array() else {
        problems.add(fields.name("layer_types"), "is not a list");
        return None;
    };
    if values.len() != layers {
        let reason = format!("has {} entries for {layers} layers", values.len());
        problems.add(fields.name("layer_types"), reason);
        return None;
    }
    let mut kinds = Vec::with_capacity(layers);
    for (layer, value) in values.iter().enumerate() {
        match value.as_str() {
            Some("sliding_attention") => kinds.push(LayerKind::Sliding),
            Some("full_attention") => kinds.push(LayerKind::Full),
            _ => {
                let reason = format!("is {}, neither sliding_attention nor full_attention", brief(value));
                problems.add(fields.name(&format!("layer_types[{layer}]")), reason);
            }
        }
    }
    (kinds.len() == layers).then_some(kinds)
}

/// Number of layers of which the last is a full one, in files that do not name each layer.
fn read_period(fields: &Fields<'_>, problems: &mut Problems) -> Option<usize> {
    let written =
        ["sliding_window_pattern", "_sliding_window_pattern"].into_iter().find(|name| fields.get(name).is_some());
    written.map_or(Some(PERIOD), |name| fields.size(name, MAX_LAYERS, problems))
}

/// float16 is only a way of storing: the arithmetic is float32 or bfloat16 whatever the file says.
pub(super) fn check_storage_type(top: &Fields<'_>, problems: &mut Problems) {
    let usable = ["float32", "bfloat16", "float16"];
    for field in ["dtype", "torch_dtype"] {
        // Some programs write the type as Python prints it.
        let found = top.text(field, problems).map(|found| found.strip_prefix("torch.").unwrap_or(found));
        if let Some(found) = found.filter(|found| !usable.contains(found)) {
            problems.add(top.name(field), format!("is {found:?}; usable are {}", usable.join(", ")));
        }
    }
}

/// The vocabulary as far as it is known, without reporting it a second time.
pub(super) fn quiet_vocab(fields: &Fields<'_>, top: &Fields<'_>) -> Option<usize> {
    fields.get("vocab_size").or_else(|| top.get("vocab_size"))?.as_u64().and_then(|vocab| usize::try_from(vocab).ok())
}
