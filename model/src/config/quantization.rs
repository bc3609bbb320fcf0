//! The field `quantization_config` of a quantised checkpoint.
//!
//! Read with the rest of `config.json`; written when a checkpoint is quantised.

use kernels::Scheme;
use serde_json::{Value, json};

use super::document::ConfigDocument;
use super::fields::{Fields, Problems, brief};
use crate::arithmetic::scheme_name;

/// Name of the field.
pub(super) const FIELD: &str = "quantization_config";
const METHOD: &str = "encdec";
const VERSION: u64 = 1;

/// The field's value for a scheme.
pub(super) fn written(scheme: Scheme) -> Value {
    json!({ "quant_method": METHOD, "version": VERSION, "scheme": scheme_name(scheme) })
}

/// The scheme that the matrices of the layers are quantised to. `None` also when a problem was added.
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

impl ConfigDocument {
    /// The scheme that the checkpoint is quantised to; `None` when it is as it was published.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        read(&self.fields().top, &mut Problems::default())
    }
}
