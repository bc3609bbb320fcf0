//! The OpenAPI document (version 3.1): paths, bodies, answers and errors.
//!
//! Made by `handler` from `operations` and the limits of the server.

use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema,
};

use super::operations::Operation;
use crate::api::encodings::ListMessage;
use crate::api::http::{ERROR_STATUSES, ErrorObject};
use crate::api::json::{LimitValues, list_schema, object_schema};

const JSON: &str = "application/json";
const SECURITY: &str = "key";

/// An answer with the status 200.
pub enum AnswerForm {
    /// A JSON object of one type.
    Json(Named),
    /// A JSON object of one type, or pieces of it as server-sent events.
    JsonOrEvents(Named),
    /// A JSON list of objects of one type.
    JsonList(Named),
    /// Any JSON object.
    AnyJson,
    /// Plain text.
    Text,
}

/// A type of answers, and all that it is made of.
pub struct Named {
    name: String,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// An answer of results of this type, in a list under a name of its own.
pub fn list_of<T: ToSchema>(name: &str) -> AnswerForm {
    let mut list = Named::of_as::<ListMessage<T>>(name);
    list.schemas.extend(Named::of::<T>().schemas);
    AnswerForm::Json(list)
}

/// An answer of this type.
pub fn json<T: ToSchema>() -> AnswerForm {
    AnswerForm::Json(Named::of::<T>())
}

impl AnswerForm {
    /// A list of answers of this type.
    pub fn listed<T: ToSchema>() -> Self {
        Self::JsonList(Named::of::<T>())
    }

    /// The answer may come as a stream as well.
    pub fn or_events(self) -> Self {
        if let Self::Json(named) = self { Self::JsonOrEvents(named) } else { self }
    }
}

impl Named {
    fn of<T: ToSchema>() -> Self {
        Self::of_as::<T>(&T::name())
    }

    fn of_as<T: ToSchema>(name: &str) -> Self {
        let mut schemas = vec![(name.to_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self { name: name.to_owned(), schemas }
    }

    fn list_content(&self) -> Content {
        Content::new(Some(list_schema(Ref::from_schema_name(&self.name))))
    }

    fn content(&self) -> Content {
        Content::new(Some(Ref::from_schema_name(&self.name)))
    }
}

/// The facts of a server that its description depends on.
pub struct ServerFacts {
    /// Limits that fields name.
    pub limits: LimitValues,
    /// Whether requests need a key.
    pub needs_key: bool,
}

/// The document of a server of which this is known.
pub fn document(operations: &[Operation], facts: &ServerFacts) -> OpenApi {
    let paths = operations.iter().fold(PathsBuilder::new(), |paths, operation| {
        paths.path(operation.path, PathItem::new(operation.method.clone(), described(operation, facts)))
    });
    let about = "Text generation with encoder-decoder models, in the shapes of OpenAI's API and with vLLM's names for \
                 what that lacks.";
    let info = InfoBuilder::new().title("encdec").version(env!("CARGO_PKG_VERSION")).description(Some(about));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components(operations))).build()
}

fn components(operations: &[Operation]) -> Components {
    let error = Named::of::<ErrorObject<'_>>();
    let answers = operations.iter().filter_map(|operation| match &operation.answer {
        AnswerForm::Json(named) | AnswerForm::JsonOrEvents(named) | AnswerForm::JsonList(named) => Some(named),
        AnswerForm::AnyJson | AnswerForm::Text => None,
    });
    let schemas = answers.chain([&error]).flat_map(|named| named.schemas.clone());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key"));
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(SECURITY, SecurityScheme::Http(bearer.build()))
        .build()
}

fn described(operation: &Operation, facts: &ServerFacts) -> OperationBuilder {
    let identity = operation.path.trim_matches('/').replace(['/', '.', '{', '}'], "_");
    let mut described = OperationBuilder::new()
        .operation_id(Some(identity))
        .summary(Some(operation.summary))
        .response("200", answered(&operation.answer));
    for status in ERROR_STATUSES {
        let has_input = operation.body.is_some() || operation.has_model_query;
        if has_input || !status.concerns_bodies {
            described = described.response(status.status, refused(status.about));
        }
    }
    if operation.path.contains('{') {
        described = described.parameter(model_parameter("name", ParameterIn::Path));
    }
    if operation.has_model_query {
        described = described.parameter(model_parameter("model", ParameterIn::Query));
    }
    if let Some(fields) = operation.body {
        let content = Content::new(Some(object_schema(fields, &facts.limits)));
        described = described.request_body(Some(
            RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build(),
        ));
    }
    if operation.is_open || !facts.needs_key {
        return described;
    }
    described.security(SecurityRequirement::new::<_, [&str; 0], &str>(SECURITY, []))
}

fn answered(answer: &AnswerForm) -> Response {
    let response = ResponseBuilder::new().description("The answer");
    let text = || Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
    match answer {
        AnswerForm::Json(named) => response.content(JSON, named.content()),
        AnswerForm::JsonOrEvents(named) => {
            response.content(JSON, named.content()).content("text/event-stream", event())
        }
        AnswerForm::JsonList(named) => response.content(JSON, named.list_content()),
        AnswerForm::AnyJson => response.content(JSON, Content::new(Some(ObjectBuilder::new()))),
        AnswerForm::Text => response.content("text/plain", text()),
    }
    .build()
}

/// A server-sent event, which holds a piece of the answer in JSON, or the word that ends the stream.
fn event() -> Content {
    let data = ObjectBuilder::new().schema_type(Type::String);
    Content::new(Some(ObjectBuilder::new().property("data", data).required("data")))
}

fn refused(about: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("Error")));
    ResponseBuilder::new().description(about).content(JSON, content).build()
}

fn model_parameter(name: &str, place: ParameterIn) -> Parameter {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).min_length(Some(1));
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some("Name of a model"))
        .schema(Some(text))
        .build()
}
