//! The body of a question for the tokenizer: scalar fields, and one larger field with a reader of its own.
//!
//! Used by `tokenize` and `detokenize`.

use std::sync::Arc;

use axum::extract::Request;
use serde::de::MapAccess;

use crate::api::Api;
use crate::api::http::{ApiError, RequestAccount};
use crate::api::json::{Brief, FieldTable, Fields, Shape, Shaped};
use crate::api::reading::{ReadRequest, Unread, read_request};
use crate::registry::ServedModel;

/// Reads a request and parses its body with `parse`.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn receive<T: Send + 'static>(
    api: &Arc<Api>,
    request: Request,
    parse: fn(&[u8], &Api, &ServedModel) -> Result<T, ApiError>,
) -> Result<ReadRequest<T>, ApiError> {
    let account = request.extensions().get::<RequestAccount>().cloned();
    let account = account.unwrap_or_else(|| RequestAccount::new(api.entrance.metrics.without_model()));
    let unread = Unread { account: &account, request, queued_as: None };
    read_request(api, unread, move |body, api, model| parse(body, api, model)).await
}

/// The fields of a body, and the value of its larger field.
pub type Parts<T> = (Fields, Option<Result<T, ApiError>>);

/// Reads an object with one field that `larger` reads.
pub struct AskedShape<S> {
    /// The fields.
    pub known: &'static FieldTable,
    /// Name of the larger one.
    pub name: &'static str,
    /// Its reader.
    pub larger: S,
}

impl<T, S: Shape<Read = Option<Result<T, ApiError>>> + Copy> Shape for AskedShape<S> {
    type Read = Result<Parts<T>, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let (mut fields, mut larger) = (Fields::new(self.known, ""), None);
        while let Some(name) = fields.next_known(&mut object)? {
            if name == self.name {
                larger = object.next_value_seed(Shaped(self.larger))?;
            } else {
                fields.set(name, object.next_value()?);
            }
        }
        Ok(Ok((fields, larger)))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
