//! `quantization_config`: what a quantised checkpoint says of itself.
//!
//! Read with the rest of `config.json`, written by whoever quantises a checkpoint.

use kernels::Scheme;
use serde_json::{Value, json};

use super::fields::{Fields, Problems, brief};
use crate::arithmetic::scheme_name;

/// The field of `config.json`.
pub(crate) const FIELD: &str = "quantization_config";
const METHOD: &str = "encdec";
const VERSION: u64 = 1;

/// The field's value for a scheme.
pub(crate) fn written(scheme: Scheme) -> Value {
    json!({ "quant_method": METHOD, "version": VERSION, "scheme": scheme_name(scheme) })
}

/// `None` also when a problem was added.
pub(super) fn read(top: &Fields<'_>, problems: &mut Problems) -> Option<Scheme> {
    top.get(FIELD)?;
    let fields = top.object(FIELD, problems)?;
    let method = fields.get("quant_method");
    if method.and_then(Value::as_str) != Some(METHOD) {
        let found = method.map_or("missing".to_owned(), brief);
        let reason = format!("is {found}; only {METHOD:?} can be read: quantise the original with `server quantize`");
        problems.add(fields.name("quant_method"), reason);
        return None;
    }
    let version = fields.get("version");
    if version.and_then(Value::as_u64) != Some(VERSION) {
        let found = version.map_or("missing".to_owned(), brief);
        problems.add(fields.name("version"), format!("is {found}; this program reads version {VERSION}"));
        return None;
    }
    let scheme = fields.get("scheme");
    let known = [Scheme::Int8, Scheme::Int4];
    let found = known.into_iter().find(|&known| scheme.and_then(Value::as_str) == Some(scheme_name(known)));
    if found.is_none() {
        let written = scheme.map_or("missing".to_owned(), brief);
        problems.add(fields.name("scheme"), format!("is {written}, neither \"int8\" nor \"int4\""));
    }
    found
}
