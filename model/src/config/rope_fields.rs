//! From `config.json` to the rotary angles of a stack, in every published dialect.
//!
//! Called by `stack_fields`. Adds every problem it finds.

use kernels::{RopeScaling, RopeSpec};

use super::architecture::Generation;
use super::fields::{Fields, Problems, brief};
use super::stack::LayerRopes;

/// The angles of both kinds of layers. `None` only when a problem was added.
pub(super) fn read_ropes(fields: &Fields<'_>, layers: Generation, problems: &mut Problems) -> Option<LayerRopes> {
    match layers {
        Generation::Gemma2 => Some(LayerRopes::alike(RopeSpec::unscaled(read_theta(fields, problems)?))),
        Generation::Gemma3 => read_by_kind(fields, problems),
    }
}

/// `rope_parameters` by the kind of layer, or the older `rope_theta`, `rope_scaling` and `rope_local_base_freq`.
fn read_by_kind(fields: &Fields<'_>, problems: &mut Problems) -> Option<LayerRopes> {
    if fields.get("rope_parameters").is_none() {
        let sliding = fields.positive("rope_local_base_freq", problems).map(RopeSpec::unscaled);
        let theta = fields.positive("rope_theta", problems);
        let scaling = fields.object("rope_scaling", problems);
        let scaling = scaling.map_or(Some(RopeScaling::None), |scaling| read_scaling(&scaling, problems));
        return Some(LayerRopes { sliding: sliding?, full: RopeSpec { theta: theta?, scaling: scaling? } });
    }
    let kinds = fields.object("rope_parameters", problems)?;
    let mut read = |kind: &str| {
        if kinds.get(kind).is_none() {
            problems.add(kinds.name(kind), "is missing");
        }
        let rope = kinds.object(kind, problems)?;
        let (theta, scaling) = (rope.positive("rope_theta", problems), read_scaling(&rope, problems));
        Some(RopeSpec { theta: theta?, scaling: scaling? })
    };
    let (sliding, full) = (read("sliding_attention"), read("full_attention"));
    Some(LayerRopes { sliding: sliding?, full: full? })
}

/// Angles that are not scaled, or divided by one factor. `None` only when a problem was added.
fn read_scaling(rope: &Fields<'_>, problems: &mut Problems) -> Option<RopeScaling> {
    let kind = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
    check_partial(rope, problems);
    match rope.text(kind, problems) {
        None if rope.positive_if_any("factor", problems).is_some_and(|factor| factor != 1.0) => {
            problems.add(rope.name("rope_type"), "is missing beside a factor");
            None
        }
        None | Some("default") => Some(RopeScaling::None),
        Some("linear") => rope.positive("factor", problems).map(|factor| RopeScaling::Linear { factor }),
        Some(found) => {
            problems.add(rope.name(kind), format!("is {found:?}, neither \"default\" nor \"linear\""));
            None
        }
    }
}

/// The newer dialect's `rope_parameters` win over the older `rope_theta`.
fn read_theta(fields: &Fields<'_>, problems: &mut Problems) -> Option<f32> {
    for field in ["rope_parameters", "rope_scaling"] {
        if fields.get(field).is_none() {
            continue;
        }
        let rope = fields.object(field, problems)?;
        check_scaling(&rope, problems);
        if rope.get("rope_theta").is_some() {
            return rope.positive("rope_theta", problems);
        }
    }
    if fields.get("rope_theta").is_none() && fields.get("rope_parameters").is_some() {
        problems.add(fields.name("rope_parameters.rope_theta"), "is missing");
        return None;
    }
    fields.positive("rope_theta", problems)
}

/// Accepts angles that are not scaled, however the file says so.
fn check_scaling(rope: &Fields<'_>, problems: &mut Problems) {
    let kind = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
    let name = rope.text(kind, problems);
    let factor = rope.positive_if_any("factor", problems).unwrap_or(1.0);
    match name {
        // With this type transformers reads no other field.
        Some("default") => {}
        None if factor == 1.0 => {}
        // Angles are divided by the factor, all or some.
        Some("linear" | "llama3") if factor == 1.0 && rope.get("factor").is_some() => {}
        Some("linear" | "llama3") | None => {
            let found = rope.get("factor").map_or("missing".to_owned(), brief);
            problems.add(rope.name("factor"), format!("is {found}; only angles that are not scaled are supported"));
        }
        Some(found) => problems.add(rope.name(kind), format!("is {found:?}; only \"default\" is supported")),
    }
    check_partial(rope, problems);
}

fn check_partial(rope: &Fields<'_>, problems: &mut Problems) {
    if let Some(share) = rope.positive_if_any("partial_rotary_factor", problems).filter(|share| *share != 1.0) {
        problems.add(
            rope.name("partial_rotary_factor"),
            format!("is {share}; only heads whose whole width is rotated are supported"),
        );
    }
}
