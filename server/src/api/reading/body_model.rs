//! Which model a body is for, before the rest of it is read: every model has bounds of its own.

use std::sync::{Arc, LazyLock};

use serde::de::MapAccess;

use crate::api::fields::MODEL;
use crate::api::http::{ApiError, RequestAccount};
use crate::api::json::{Brief, Fields, Known, Shape, read_body, shortened};
use crate::registry::{ModelRegistry, ServedModel};

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known::new([MODEL]));

/// The model that `body` is for: the one it names, or the default one. The request is counted for it from then on.
///
/// The body is read once for this and once more as a request, because the model's bounds decide what is kept of it.
/// Nothing but the name is kept here.
///
/// # Errors
/// The [`ApiError`] of a body that is no JSON object, of a value that is no name, or of a name that nobody has.
pub fn served_model<'a>(
    models: &'a ModelRegistry,
    account: &RequestAccount,
    body: &[u8],
) -> Result<&'a Arc<ServedModel>, ApiError> {
    let model = match read_body(body, NameShape)? {
        None => models.default_model(),
        Some(name) => models
            .find(&name)
            .ok_or_else(|| ApiError::UnknownModel { asked: shortened(&name), served: models.names() })?,
    };
    account.assign(&model.metrics.requests);
    Ok(model)
}

/// Reads the name of the model from a body.
struct NameShape;

impl Shape for NameShape {
    type Read = Result<Option<String>, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut fields = Fields::new(&KNOWN, "");
        while let Some(name) = fields.next_known(&mut object)? {
            fields.set(name, object.next_value()?);
        }
        Ok(fields.text(MODEL.name))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(body: &[u8]) -> Result<Option<String>, ApiError> {
        read_body(body, NameShape)
    }

    #[test]
    fn a_name_is_found_wherever_it_stands_and_the_last_one_counts() {
        for (body, found) in [
            (r#"{"model": "a", "prompt": ["p", [1]]}"#, "a"),
            (r#"{"prompt": {"model": "b"}, "model": "a"}"#, "a"),
            (r#"{"model": "b", "prompt": "p", "model": "a"}"#, "a"),
        ] {
            assert_eq!(name(body.as_bytes()), Ok(Some(found.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_body_without_a_name_is_told_from_one_whose_name_cannot_be_read() {
        for body in [r#"{"prompt": "p"}"#, r#"{"model": null}"#, "{}", r#"{"model": "b", "model": null}"#] {
            assert_eq!(name(body.as_bytes()), Ok(None), "{body}");
        }
        let wrong_type = ApiError::WrongType { param: "model".to_owned(), expected: "a string", found: "a number" };
        assert_eq!(name(br#"{"model": 7}"#), Err(wrong_type));
        for body in [r#"{"model": "a""#, r#"{"prompt": "p""#, r#"{"model": "a"} {}"#, ""] {
            assert!(matches!(name(body.as_bytes()), Err(ApiError::MalformedJson { .. })), "{body}");
        }
        for body in [r#"["model", "a"]"#, "null"] {
            assert!(matches!(name(body.as_bytes()), Err(ApiError::NotAnObject { .. })), "{body}");
        }
        assert!(matches!(name(b"{\"model\": \"\xff\"}"), Err(ApiError::NotUtf8 { .. })));
    }
}
