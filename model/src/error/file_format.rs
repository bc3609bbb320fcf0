//! The format of a file that is named safetensors and is something else, recognised by its first bytes.
//!
//! Asked by `checkpoint` when a header cannot be one; the words are part of its error.

use std::fmt;

/// A format that is recognised by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// HTML, as a server sends it to explain why it did not send the file.
    WebPage,
    /// A zip archive with a pickle in it, as `torch.save` writes it.
    ZipArchive,
    /// A pickle, as older versions of `torch.save` wrote it.
    Pickle,
    /// The format of llama.cpp.
    Gguf,
    /// A compressed file.
    Gzip,
}

impl FileFormat {
    /// The format of a file that begins with `start`, if it is one of these.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
        let is_page =
            [&b"<!doctype"[..], b"<html", b"<head", b"<?xml", b"<!--"].iter().any(|tag| text.starts_with(tag));
        match start {
            _ if is_page => Some(Self::WebPage),
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Self::ZipArchive),
            // The instruction that names the protocol, which has been one of these since 2003.
            [0x80, 2..=5, ..] => Some(Self::Pickle),
            [b'G', b'G', b'U', b'F', ..] => Some(Self::Gguf),
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            _ => None,
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebPage => {
                "a web page (HTML), not safetensors: read what it says, then fetch the file again, signed in where the \
                 model asks for that"
            }
            Self::ZipArchive => {
                "a zip archive, as torch.save writes it, not safetensors: fetch the model's safetensors files, or save \
                 it with save_pretrained of transformers"
            }
            Self::Pickle => {
                "a pickle, as torch.save writes it, not safetensors: fetch the model's safetensors files, or save it \
                 with save_pretrained of transformers"
            }
            Self::Gguf => {
                "a GGUF file, not safetensors: give its path to `server adapt`, or fetch the model that it was made of"
            }
            Self::Gzip => "compressed with gzip: unpack it",
        })
    }
}
