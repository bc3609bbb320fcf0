//! How a quantised weight is stored: `X.weight` becomes `X.weight_q8` or `X.weight_q4` with `X.weight_scale`.
//!
//! Asked when a quantised checkpoint is opened and when one is written; `docs/quantization.md` describes the format.

use kernels::Scheme;
use kernels::quantize::GROUP;
use safetensors::Dtype;

use super::layout::TensorEntry;

/// The two tensors that hold a weight which is quantised to `scheme`: its integers, and their scales.
pub(super) fn quantized_entries(name: &str, shape: &[usize], scheme: Scheme) -> [TensorEntry; 2] {
    let [rows, cols] = shape else { unreachable!("only matrices are quantised, {name} is none") };
    let (suffix, integers, scales) = match scheme {
        Scheme::Int8 => ("q8", (Dtype::I8, vec![*rows, *cols]), (Dtype::F32, vec![*rows])),
        Scheme::Int4 => {
            ("q4", (Dtype::U8, vec![*rows, cols.div_ceil(2)]), (Dtype::BF16, vec![*rows, cols.div_ceil(GROUP)]))
        }
    };
    let piece = |suffix, (dtype, shape)| TensorEntry { name: format!("{name}_{suffix}"), dtype, shape };
    [piece(suffix, integers), piece("scale", scales)]
}
