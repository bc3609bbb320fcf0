//! Which model a body is for, before the rest of it is read: every model has bounds of its own.

use std::sync::{Arc, LazyLock};

use serde::de::{DeserializeSeed, MapAccess};

use crate::api::http::RequestAccount;
use crate::api::json::{Brief, Fields, Known, Shape, Shaped};
use crate::registry::{ModelRegistry, ServedModel};

const MODEL: &str = "model";

static KNOWN: LazyLock<Known> = LazyLock::new(|| [MODEL].into_iter().collect());

/// The model against whose bounds `body` is read: the one it names, or the default one. A name that nobody has is told
/// once the body is known to be a request.
///
/// Where several models are served, the body is read once more for this, without keeping anything of it but the name.
pub fn served_model<'a>(models: &'a ModelRegistry, account: &RequestAccount, body: &[u8]) -> &'a Arc<ServedModel> {
    if let Some(only) = models.only() {
        return only;
    }
    match model_name(body).and_then(|name| models.find(&name)) {
        Some(named) => {
            account.assign(&named.metrics.requests);
            named
        }
        None => models.default_model(),
    }
}

/// The value of `model`, unless the body names none or is no request.
fn model_name(body: &[u8]) -> Option<String> {
    Shaped(NameShape).deserialize(&mut serde_json::Deserializer::from_slice(body)).ok()?
}

struct NameShape;

impl Shape for NameShape {
    type Read = Option<String>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut fields = Fields::new(&KNOWN, "");
        while let Some(name) = fields.next_known(&mut object)? {
            fields.set(name, object.next_value()?);
        }
        // A value that is no name is told when the body is read as a request.
        Ok(fields.text(MODEL).unwrap_or_default())
    }

    fn other(self, _: Brief) -> Self::Read {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands_and_the_last_one_counts() {
        for (body, name) in [
            (r#"{"model": "a", "prompt": ["p", [1]]}"#, Some("a")),
            (r#"{"prompt": {"model": "b"}, "model": "a"}"#, Some("a")),
            (r#"{"model": "b", "prompt": "p", "model": "a"}"#, Some("a")),
            (r#"{"prompt": "p"}"#, None),
            (r#"{"model": null}"#, None),
            (r#"{"model": 7}"#, None),
            (r#"{"model": "a""#, None),
            (r#"["model", "a"]"#, None),
            ("", None),
        ] {
            assert_eq!(model_name(body.as_bytes()).as_deref(), name, "{body}");
        }
        assert_eq!(model_name(b"{\"model\": \"\xff\"}"), None);
    }
}
