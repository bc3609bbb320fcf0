//! `POST /v1/files`: a form with a file, which goes to the disk piece by piece as it arrives.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{KnownFormat, ObjectBuilder, Schema, SchemaFormat};

use super::asker::{Asker, on_disk};
use super::file_message::FileMessage;
use super::form::{Form, PartName, Piece};
use crate::api::Api;
use crate::api::http::{ApiError, Pace, Share, broken, discard_body};
use crate::api::json::{shortened, text_schema};
use crate::batch_store::{StoreError, Upload, UploadName};

const FILE: &str = "file";
const PURPOSE: &str = "purpose";
const ANCHOR: &str = "expires_after[anchor]";
const SECONDS: &str = "expires_after[seconds]";
/// Most bytes of a field beside the file, and of the file's name.
const TEXT_BYTES: usize = 1 << 10;
/// Bytes of a form beside the file.
const FORM_BYTES: u64 = 64 << 10;
/// Bytes that are written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Shortest and longest time for which a client may want a file to be kept, in seconds.
const KEEP_S: [u64; 2] = [3600, 2_592_000];

/// The schema of the form.
pub fn upload_schema() -> Schema {
    let closed = AdditionalProperties::<Schema>::FreeForm(false);
    let file = text_schema().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
    ObjectBuilder::new()
        .property(FILE, file)
        .required(FILE)
        .property(PURPOSE, text_schema().enum_values(Some(["batch"])))
        .required(PURPOSE)
        .property(ANCHOR, text_schema().enum_values(Some(["created_at"])))
        .property(SECONDS, text_schema().pattern(Some("^[0-9]+$")))
        .additional_properties(Some(closed))
        .into()
}

/// Takes a file.
pub async fn upload(State(api): State<Arc<Api>>, request: Request) -> Result<Json<FileMessage>, ApiError> {
    let _open = api.open_requests.open();
    let prepared = Asker::of(&api, request.extensions(), "/v1/files").and_then(|asker| {
        Ok((check_declared(&asker, request.headers()).map(|()| asker)?, Form::declared(request.headers())?))
    });
    let (asker, form) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Err(api.entrance.refuse_unread(request, error).await),
    };
    let (head, mut body) = request.into_parts();
    let mut share = api.body_budget.share(head.extensions.get().copied());
    let receiving = async {
        share.grow_to(PIECE_BYTES)?;
        let Asker { store, owner } = asker;
        let upload = on_disk(move || Upload::begin(&store, &owner)).await?;
        let mut incoming = Incoming {
            form,
            upload: Some(upload),
            pending: Vec::new(),
            part: None,
            read: Read::default(),
            _share: share,
        };
        incoming.receive(&api, &mut body).await?;
        incoming.finish().await
    };
    match receiving.await {
        Ok(message) => Ok(Json(message)),
        Err(error) => {
            // A client that waits for permission to send gets its answer first.
            if !head.headers.contains_key(EXPECT) {
                discard_body(body, api.limits.body).await;
            }
            Err(error)
        }
    }
}

/// Refuses by what is declared.
fn check_declared(asker: &Asker, headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(CONTENT_ENCODING) {
        let problem = "must arrive without a Content-Encoding: send it as it is";
        return Err(ApiError::Invalid { param: FILE.to_owned(), problem });
    }
    let limit = asker.store.limits().file_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > limit + FORM_BYTES) {
        return Err(StoreError::FileTooLarge { limit }.into());
    }
    Ok(())
}

/// Fields of the form that were read.
#[derive(Debug, Default)]
struct Read {
    filename: Option<String>,
    texts: Vec<(&'static str, String)>,
}

/// A file on its way in.
struct Incoming {
    form: Form,
    /// Somewhere else while it is written to.
    upload: Option<Upload>,
    /// Bytes of the file that are still to be written.
    pending: Vec<u8>,
    /// The field whose data arrive.
    part: Option<&'static str>,
    read: Read,
    /// Memory of `pending`.
    _share: Share,
}

impl Incoming {
    async fn receive(&mut self, api: &Api, body: &mut Body) -> Result<(), ApiError> {
        let mut pace = Pace::new(api.limits.body.pace);
        while let Some(frame) = pace.next(body, true).await? {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else { continue };
            self.form.feed(data);
            while let Some(piece) = self.form.next()? {
                self.take(piece)?;
            }
            if self.pending.len() >= PIECE_BYTES {
                self.write().await?;
            }
        }
        if !self.form.is_whole() {
            return Err(ApiError::NotAForm("it ends before its last boundary"));
        }
        self.write().await
    }

    fn take(&mut self, piece: Piece) -> Result<(), ApiError> {
        match piece {
            Piece::Part(name) => self.begin_part(name),
            Piece::PartEnd => {
                self.part = None;
                Ok(())
            }
            Piece::Data(data) if self.part == Some(FILE) => {
                self.pending.extend_from_slice(&data);
                Ok(())
            }
            Piece::Data(data) => {
                let Some((param, text)) = self.read.texts.last_mut() else { return Ok(()) };
                if text.len() + data.len() > TEXT_BYTES {
                    let bytes = text.len() + data.len();
                    return Err(ApiError::TooLong { param: (*param).to_owned(), bytes, limit: TEXT_BYTES });
                }
                let data = std::str::from_utf8(&data);
                let problem = "is not UTF-8";
                *text += data.map_err(|_| ApiError::Invalid { param: (*param).to_owned(), problem })?;
                Ok(())
            }
        }
    }

    fn begin_part(&mut self, PartName { name, filename }: PartName) -> Result<(), ApiError> {
        let known = [FILE, PURPOSE, ANCHOR, SECONDS].into_iter().find(|known| *known == name);
        let known = known.ok_or_else(|| ApiError::UnknownFields { names: vec![shortened(&name)] })?;
        let is_given = if known == FILE { self.read.filename.is_some() } else { self.read.text(known).is_some() };
        if is_given {
            return Err(ApiError::Invalid { param: known.to_owned(), problem: "is given twice" });
        }
        self.part = Some(known);
        if known == FILE {
            let filename = filename.unwrap_or_else(|| FILE.to_owned());
            if filename.len() > TEXT_BYTES {
                return Err(ApiError::TooLong { param: FILE.to_owned(), bytes: filename.len(), limit: TEXT_BYTES });
            }
            self.read.filename = Some(filename);
        } else {
            self.read.texts.push((known, String::new()));
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), ApiError> {
        let (Some(mut upload), pending) = (self.upload.take(), std::mem::take(&mut self.pending)) else {
            return Err(ApiError::WorkerFailed);
        };
        let written = on_disk(move || {
            upload.write(&pending)?;
            Ok(upload)
        });
        self.upload = Some(written.await?);
        Ok(())
    }

    async fn finish(self) -> Result<FileMessage, ApiError> {
        let Self { upload, read, .. } = self;
        let upload = upload.ok_or(ApiError::WorkerFailed)?;
        let keep_s = read.check()?;
        let filename = read.filename.ok_or(ApiError::Missing { param: FILE })?;
        if upload.bytes() == 0 {
            return Err(ApiError::Invalid { param: FILE.to_owned(), problem: "is empty" });
        }
        let name = UploadName { filename, keep_s };
        Ok(on_disk(move || upload.finish(name)).await?.into())
    }
}

impl Read {
    fn text(&self, name: &str) -> Option<&str> {
        self.texts.iter().find(|(other, _)| *other == name).map(|(_, text)| text.as_str())
    }

    /// Checks all fields but the file; seconds for which that is to be kept.
    fn check(&self) -> Result<Option<u64>, ApiError> {
        match self.text(PURPOSE) {
            Some("batch") => {}
            Some(other) => {
                let value = format!("{:?}", shortened(other));
                return Err(ApiError::OutOfRange { param: PURPOSE, value, range: "\"batch\"".to_owned() });
            }
            None => return Err(ApiError::Missing { param: PURPOSE }),
        }
        let (anchor, seconds) = match (self.text(ANCHOR), self.text(SECONDS)) {
            (None, None) => return Ok(None),
            (Some(anchor), Some(seconds)) => (anchor, seconds),
            (None, Some(_)) => return Err(ApiError::Missing { param: ANCHOR }),
            (Some(_), None) => return Err(ApiError::Missing { param: SECONDS }),
        };
        if anchor != "created_at" {
            let (value, range) = (format!("{anchor:?}"), "\"created_at\"".to_owned());
            return Err(ApiError::OutOfRange { param: ANCHOR, value, range });
        }
        let [least, most] = KEEP_S;
        let number = seconds.parse::<u64>().ok().filter(|seconds| (least..=most).contains(seconds));
        let (value, range) = (format!("{seconds:?}"), format!("between {least} and {most}"));
        number.map(Some).ok_or(ApiError::OutOfRange { param: SECONDS, value, range })
    }
}
