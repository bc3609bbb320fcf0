//! Every error that the API answers with. `error_face` gives it a status, `error_response` writes it.
//!
//! Used by every file of `api`. Messages are for the client alone.

use std::time::Duration;

use super::form_error::FormProblem;
use super::sequence_error::{TargetNames, fault};
use crate::batch_store::StoreError;
use crate::request::{FailureKind, Refusal};

/// An error for the client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The body is not UTF-8.
    #[error("the request body is not valid UTF-8 (first bad byte at offset {offset})")]
    NotUtf8 {
        /// Bytes before the first bad one.
        offset: usize,
    },
    /// The body is not JSON.
    #[error("the request body is not valid JSON: {problem}")]
    MalformedJson {
        /// The parser's message, with line and column.
        problem: String,
    },
    /// The body is JSON but no object.
    #[error("the request body must be a JSON object, not {found}")]
    NotAnObject {
        /// Its JSON type.
        found: &'static str,
    },
    /// Unknown fields.
    #[error("Unrecognized request argument{} supplied: {}", if .names.len() > 1 { "s" } else { "" }, .names.join(", "))]
    UnknownFields {
        /// Their names, in the order given.
        names: Vec<String>,
    },
    /// A field that exists elsewhere, with a value that would change the answer.
    #[error("'{param}' is not supported by this server; leave it out or give {neutral}")]
    Unsupported {
        /// The field.
        param: &'static str,
        /// The values that are accepted.
        neutral: &'static str,
    },
    /// A required field is missing.
    #[error("you must provide a '{param}' parameter")]
    Missing {
        /// The field.
        param: &'static str,
    },
    /// A value of another JSON type.
    #[error("'{param}' must be {expected}, not {found}")]
    WrongType {
        /// The field.
        param: String,
        /// The JSON type that is accepted.
        expected: &'static str,
        /// Its JSON type.
        found: &'static str,
    },
    /// A number outside its range.
    #[error("{value} is out of range for '{param}': it must be {range}")]
    OutOfRange {
        /// The field.
        param: &'static str,
        /// The value given.
        value: String,
        /// The range that is accepted.
        range: String,
    },
    /// Values that contradict each other, or an empty value.
    #[error("'{param}' {problem}")]
    Invalid {
        /// The field.
        param: String,
        /// The problem, as a predicate.
        problem: &'static str,
    },
    /// More of something than is allowed in one request.
    #[error("'{param}' holds {count} {unit}; at most {limit} are allowed")]
    TooMany {
        /// The field.
        param: &'static str,
        /// How many were given.
        count: usize,
        /// Unit of the count.
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Values that are allowed each but not together.
    #[error("'{param}' makes {count} {unit} in all; at most {limit} are allowed in one request")]
    Total {
        /// The field.
        param: &'static str,
        /// The total.
        count: u64,
        /// Unit of the count.
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A string that is not the model's input and too long.
    #[error("'{param}' has {bytes} bytes; at most {limit} are allowed")]
    TooLong {
        /// The field.
        param: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A token id that the model does not have.
    #[error("token id {id} in '{param}' is outside the model's vocabulary of {vocab}")]
    UnknownToken {
        /// The field.
        param: String,
        /// The id.
        id: u64,
        /// Ids there are.
        vocab: usize,
    },
    /// Text for a model that is served without a tokenizer.
    #[error("'{param}' needs a tokenizer and this model is served without one: {instead}")]
    NeedsTokenizer {
        /// The field.
        param: &'static str,
        /// The remedy.
        instead: &'static str,
    },
    /// Text that could not fit whatever its tokens are; it is refused before it is tokenised.
    #[error("This model's maximum context length is {limit} tokens. However, '{param}' has at least {tokens} tokens")]
    TextTooLong {
        /// The field.
        param: String,
        /// Fewest tokens that can hold the text.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// Text that is too long to be tokenised, for a tokenizer whose tokens have no longest one.
    #[error(
        "This model's maximum context length is {tokens} tokens. However, '{param}' has {bytes} bytes; with this \
         model's tokenizer at most {limit} are taken"
    )]
    TextTooManyBytes {
        /// The field.
        param: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// Tokens allowed.
        tokens: usize,
    },
    /// Text that is too long to be tokenised although most of its tokens would be cut off.
    #[error(
        "This model's maximum context length is {tokens} tokens. However, '{param}' has {bytes} bytes; of a text that \
         is truncated at most {limit} are taken: send the part of it that is to be kept"
    )]
    TextTooLongToCut {
        /// The field.
        param: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// Tokens allowed.
        tokens: usize,
    },
    /// The tokenizer refused the text.
    #[error("'{param}' cannot be tokenised: {problem}")]
    Untokenizable {
        /// The field.
        param: String,
        /// The message.
        problem: String,
    },
    /// The chat template made no text of the messages.
    #[error("the model's chat template does not take '{param}': {problem}")]
    ChatTemplate {
        /// The field.
        param: String,
        /// The template's own words, or where it failed.
        problem: String,
    },
    /// A form of the answer that cannot be served.
    #[error("{0}")]
    Form(FormProblem),
    /// A source with more tokens than the model reads.
    #[error("This model's maximum context length is {limit} tokens. However, '{param}' has {tokens} tokens{beside}")]
    TooManyTokens {
        /// The field.
        param: String,
        /// The end of the sentence: tokens of another field that are counted, too.
        beside: &'static str,
        /// Its tokens.
        tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// A target with more tokens than the model writes.
    #[error(
        "This model's maximum context length is {limit} tokens. However, {}",
        .names.reason(*.beginning, *.max_tokens)
    )]
    TargetTooLong {
        /// The fields that make the target.
        names: TargetNames,
        /// Tokens of its beginning.
        beginning: usize,
        /// Tokens to generate.
        max_tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// A source and its target that are larger than the page pool.
    #[error(
        "'{param}' needs {needed} pages with its target; the whole page pool has {pages}: shorten it or raise \
         limits.page_pool_bytes"
    )]
    NeverFits {
        /// The field of the source.
        param: String,
        /// Pages of the source and one full-length choice.
        needed: usize,
        /// Pages there are.
        pages: usize,
    },
    /// The engine's door refused, for a reason that is in no field.
    #[error("{0}")]
    Refused(Refusal),
    /// A response of before.
    #[error("this server stores no responses: send the whole conversation in 'input' of POST /v1/responses")]
    NothingStored,
    /// A path of OpenAI's for which there is another way.
    #[error("this server does not answer {path}: {instead}")]
    NotServed {
        /// The path.
        path: &'static str,
        /// The remedy.
        instead: &'static str,
    },
    /// A file or a batch that cannot be had or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A body that is no form.
    #[error("the request body is not multipart/form-data: {0}")]
    NotAForm(&'static str),
    /// A model that is not served.
    #[error("The model `{asked}` does not exist; this server serves `{}`", .served.join("`, `"))]
    UnknownModel {
        /// Name in the request.
        asked: String,
        /// Names of all models.
        served: Vec<String>,
    },
    /// A page in a browser that nobody allowed to ask.
    #[error("requests from pages of {origin:?} are refused; server.allowed_origins can allow them")]
    ForeignOrigin {
        /// Where the page is from.
        origin: String,
    },
    /// A name that is not this server's.
    #[error("this server is not asked as {host:?}; server.allowed_hosts can allow that name")]
    ForeignHost {
        /// The name it was asked for.
        host: String,
    },
    /// A request without the key that it needs.
    #[error("you must provide an API key: send the header 'Authorization: Bearer KEY'")]
    NoKey,
    /// A request with a key that nobody has.
    #[error("Incorrect API key provided")]
    WrongKey,
    /// No such path.
    #[error("Invalid URL ({method} {path}): GET /openapi.json describes the paths of this server")]
    UnknownPath {
        /// Method asked with.
        method: String,
        /// Path asked for.
        path: String,
    },
    /// The path exists for other methods.
    #[error("Not allowed to {method} on {path}")]
    MethodNotAllowed {
        /// Method asked with.
        method: String,
        /// Path asked for.
        path: String,
    },
    /// A body in a content encoding that is not known here, or in several.
    #[error(
        "the request body has the content encoding '{encoding}', and only one of 'gzip', 'zstd' and 'deflate' is \
         taken: send it so, or as plain JSON without a Content-Encoding header"
    )]
    UnknownEncoding {
        /// The header's value.
        encoding: String,
    },
    /// A compressed body that cannot be inflated.
    #[error("the request body is not valid {encoding}: {problem}")]
    BrokenEncoding {
        /// Its content encoding.
        encoding: &'static str,
        /// The decoder's message.
        problem: String,
    },
    /// A body over the limit.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// No room for another large body.
    #[error("the server is overloaded: requests of {limit} bytes are being received already")]
    TooManyBodies {
        /// Bytes of all large bodies, at most.
        limit: usize,
    },
    /// No room for another large body of this client.
    #[error("this address is sending requests of {limit} bytes already: wait until they are taken")]
    TooManyBodiesOfPeer {
        /// Bytes of all large bodies from one address, at most.
        limit: usize,
    },
    /// A large body that comes too slowly.
    #[error("the request body came with less than {least_bytes_per_s} bytes a second")]
    BodyTooSlow {
        /// The limit.
        least_bytes_per_s: usize,
    },
    /// The client left before its body was whole.
    #[error("the client went away")]
    ClientGone,
    /// No room for another answer.
    #[error("the server is overloaded: answers of {limit} bytes are being made or taken already")]
    TooManyAnswers {
        /// Bytes of all answers, at most.
        limit: usize,
    },
    /// The request did not get its turn.
    #[error("the server is overloaded: the request has waited for {seconds} seconds and did not get its turn")]
    QueuedTooLong {
        /// The limit.
        seconds: u64,
    },
    /// The time that the client gave is over, or what is left of it does not suffice.
    #[error("the request's timeout of {} seconds is over, or too little was left of it", timeout.as_secs_f64())]
    TimedOut {
        /// The client's time.
        timeout: Duration,
    },
    /// A body that did not arrive in time.
    #[error("the request body did not arrive within {seconds} seconds")]
    BodyTimeout {
        /// The limit.
        seconds: u64,
    },
    /// A body that broke off.
    #[error("the request body broke off: {problem}")]
    BodyBroken {
        /// The connection's message.
        problem: String,
    },
    /// The request failed when it ran.
    #[error("{}{problem}", fault(*.kind))]
    Failed {
        /// The message.
        problem: String,
        /// Where the fault lies.
        kind: FailureKind,
    },
    /// The engine ended before the request did.
    #[error("the engine stopped before the request was finished")]
    EngineGone,
    /// The model is still being loaded.
    #[error("the model is still being loaded")]
    NotReady,
    /// The engine has given no sign of life for long.
    #[error("the engine has not finished a step for {seconds} seconds")]
    EngineStalled {
        /// Since its last sign of life.
        seconds: u64,
    },
    /// No task accepts connections any more.
    #[error("the server has stopped accepting connections")]
    NotAccepting,
    /// All connections are taken, and this one is there for probes only.
    #[error("the server is overloaded: all its connections are in use")]
    NoRoom,
    /// The system has no memory for the request.
    #[error("the server's system has no memory for this request")]
    OutOfMemory,
    /// A worker thread of the server itself failed.
    #[error("an internal error happened while the request was prepared")]
    WorkerFailed,
}
