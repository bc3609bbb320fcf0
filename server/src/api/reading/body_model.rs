//! Which model a body is for, before the rest of it is read: every model has bounds of its own.

use std::sync::{Arc, LazyLock};

use serde::de::{DeserializeSeed, MapAccess};

use crate::api::fields::MODEL;
use crate::api::http::RequestAccount;
use crate::api::json::{Brief, Fields, Known, Shape, Shaped};
use crate::registry::{ModelRegistry, ServedModel};

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known::new([MODEL]));

/// The model against whose bounds `body` is read: the one it names, or the default one. A name that nobody has is told
/// once the body is known to be a request. The request is counted for the model that it names, for the default one when
/// it names none, and for no model when nobody knows.
///
/// Where several models are served, the body is read once more for this, without keeping anything of it but the name.
pub fn served_model<'a>(models: &'a ModelRegistry, account: &RequestAccount, body: &[u8]) -> &'a Arc<ServedModel> {
    if let Some(only) = models.only() {
        return only;
    }
    let found = match NamedModel::read(body) {
        NamedModel::None => Some(models.default_model()),
        NamedModel::Name(name) => models.find(&name),
        NamedModel::Unreadable => None,
    };
    if let Some(model) = found {
        account.assign(&model.metrics.requests);
    }
    found.unwrap_or_else(|| models.default_model())
}

/// The value of `model` in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NamedModel {
    /// It is absent or `null`.
    None,
    /// A name, which no model may have.
    Name(String),
    /// The value is no name, or the body is no JSON object.
    Unreadable,
}

impl NamedModel {
    fn read(body: &[u8]) -> Self {
        let read = Shaped(NameShape).deserialize(&mut serde_json::Deserializer::from_slice(body));
        read.unwrap_or(Self::Unreadable)
    }
}

struct NameShape;

impl Shape for NameShape {
    type Read = NamedModel;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut fields = Fields::new(&KNOWN, "");
        while let Some(name) = fields.next_known(&mut object)? {
            fields.set(name, object.next_value()?);
        }
        // A value that is no name is told when the body is read as a request.
        Ok(match fields.text(MODEL.name) {
            Ok(None) => NamedModel::None,
            Ok(Some(name)) => NamedModel::Name(name),
            Err(_) => NamedModel::Unreadable,
        })
    }

    fn other(self, _: Brief) -> Self::Read {
        NamedModel::Unreadable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands_and_the_last_one_counts() {
        for (body, name) in [
            (r#"{"model": "a", "prompt": ["p", [1]]}"#, "a"),
            (r#"{"prompt": {"model": "b"}, "model": "a"}"#, "a"),
            (r#"{"model": "b", "prompt": "p", "model": "a"}"#, "a"),
        ] {
            assert_eq!(NamedModel::read(body.as_bytes()), NamedModel::Name(name.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_body_without_a_name_is_told_from_one_whose_name_cannot_be_read() {
        for body in [r#"{"prompt": "p"}"#, r#"{"model": null}"#, "{}", r#"{"model": "b", "model": null}"#] {
            assert_eq!(NamedModel::read(body.as_bytes()), NamedModel::None, "{body}");
        }
        for body in [r#"{"model": 7}"#, r#"{"model": "a""#, r#"{"prompt": "p""#, r#"["model", "a"]"#, "null", ""] {
            assert_eq!(NamedModel::read(body.as_bytes()), NamedModel::Unreadable, "{body}");
        }
        assert_eq!(NamedModel::read(b"{\"model\": \"\xff\"}"), NamedModel::Unreadable);
    }
}
