//! The OpenAPI document (version 3.1): paths, bodies, answers and errors.
//!
//! Made by `handler` from `operations` and the limits of the server.

use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema,
};

use super::operations::Operation;
use crate::api::batches::QueryField;
use crate::api::encodings::ListMessage;
use crate::api::http::{ERROR_STATUSES, ErrorObject};
use crate::api::json::{LimitValues, list_schema, object_schema};

const JSON: &str = "application/json";
const SECURITY: &str = "key";
const MODEL_NAME: &str = "Name of a model";

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
    /// The bytes of a file.
    Bytes,
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
        let is_shared = operations.iter().filter(|other| other.path == operation.path).count() > 1;
        let described = described(operation, facts).operation_id(Some(identity(operation, is_shared)));
        paths.path(operation.path, PathItem::new(operation.method.clone(), described))
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
        AnswerForm::AnyJson | AnswerForm::Text | AnswerForm::Bytes => None,
    });
    let schemas = answers.chain([&error]).flat_map(|named| named.schemas.clone());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key"));
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(SECURITY, SecurityScheme::Http(bearer.build()))
        .build()
}

fn described(operation: &Operation, facts: &ServerFacts) -> OperationBuilder {
    let mut described =
        OperationBuilder::new().summary(Some(operation.summary)).response("200", answered(&operation.answer));
    for status in ERROR_STATUSES {
        let has_input = operation.body.is_some()
            || operation.has_model_query
            || operation.form.is_some()
            || !operation.query.is_empty();
        if has_input || !status.concerns_bodies {
            described = described.response(status.status, refused(status.about));
        }
    }
    if let Some((_, name)) = operation.path.split_once('{') {
        let name = name.split('}').next().unwrap_or_default();
        let about = if name == "name" { MODEL_NAME } else { "Its id" };
        described = described.parameter(parameter(name, ParameterIn::Path, about, nonempty_text()));
    }
    for field in operation.query {
        described = described.parameter(parameter(field.name, ParameterIn::Query, field.about, query_schema(field)));
    }
    if operation.has_model_query {
        described = described.parameter(parameter("model", ParameterIn::Query, MODEL_NAME, nonempty_text()));
    }
    if let Some(fields) = operation.body {
        let content = Content::new(Some(object_schema(fields, &facts.limits)));
        described = described.request_body(Some(
            RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build(),
        ));
    }
    if let Some(form) = operation.form {
        let body = RequestBodyBuilder::new().content("multipart/form-data", Content::new(Some(form())));
        described = described.request_body(Some(body.required(Some(Required::True)).build()));
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
        AnswerForm::Bytes => response.content("application/octet-stream", text()),
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

/// Name of an operation: its path, and its method where the path has several.
fn identity(operation: &Operation, is_shared: bool) -> String {
    let path = operation.path.trim_matches('/').replace(['/', '.', '{', '}'], "_");
    let method = match operation.method {
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        _ => "get",
    };
    if is_shared { format!("{method}_{path}") } else { path }
}

fn nonempty_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).min_length(Some(1))
}

fn query_schema(field: &QueryField) -> ObjectBuilder {
    match field.most {
        Some(most) => {
            ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(1)).maximum(Some(most))
        }
        None if field.values.is_empty() => ObjectBuilder::new().schema_type(SchemaType::new(Type::String)),
        None => ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(field.values.iter().copied())),
    }
}

fn parameter(name: &str, place: ParameterIn, about: &str, schema: ObjectBuilder) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}
