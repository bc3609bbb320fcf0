//! A pair of which one source token makes all logits no numbers. With other sources it is that of the fixtures.

use std::path::Path;

use serde_json::Value;

/// The source token with the broken embedding.
pub const TOKEN: u32 = 77;

/// Writes a copy of a pair in which an embedding of the encoder is so large that it is infinite once it is scaled.
pub fn write(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/t5gemma-balanced");
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let mut bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let start = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let tensor = &header["model.encoder.embed_tokens.weight"];
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    assert_eq!(tensor["dtype"], "F32");
    let row = 4 * number(&tensor["shape"][1]);
    let first = start + number(&tensor["data_offsets"][0]) + TOKEN as usize * row;
    bytes[first..first + row].chunks_mut(4).for_each(|number| number.copy_from_slice(&f32::MAX.to_le_bytes()));
    std::fs::write(to.join("model.safetensors"), bytes).unwrap();
}
