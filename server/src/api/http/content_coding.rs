//! The content encoding of a request's body, by its header.
//!
//! Read by `body`; `inflate` undoes it.

use axum::http::{HeaderMap, header};

use super::error::ApiError;

/// Characters of an unknown encoding that the client gets to see.
const SHOWN: usize = 64;

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878, with a window of at most 8 MiB (RFC 9659).
    Zstd,
    /// RFC 1950.
    Deflate,
}

impl ContentCoding {
    /// The coding that the headers declare; none for a plain body.
    ///
    /// # Errors
    /// [`ApiError::UnknownEncoding`] for any other, and for several at once.
    pub fn declared(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let all = values.join(",");
        let is_coding = |name: &&str| !name.is_empty() && !name.eq_ignore_ascii_case("identity");
        let mut codings = all.split(',').map(str::trim).filter(is_coding);
        let Some(name) = codings.next() else { return Ok(None) };
        let found = match (codings.next(), name.to_ascii_lowercase().as_str()) {
            (None, "gzip" | "x-gzip") => Some(Self::Gzip),
            (None, "zstd") => Some(Self::Zstd),
            (None, "deflate") => Some(Self::Deflate),
            _ => None,
        };
        let shown = || all.trim().chars().take(SHOWN).collect();
        found.map(Some).ok_or_else(|| ApiError::UnknownEncoding { encoding: shown() })
    }

    /// Its name in the header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_coding_is_taken_and_several_are_not() {
        let declared = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            ContentCoding::declared(&headers)
        };
        assert_eq!(declared(&[]), Ok(None));
        assert_eq!(declared(&["identity", " "]), Ok(None));
        assert_eq!(declared(&["GZip"]), Ok(Some(ContentCoding::Gzip)));
        assert_eq!(declared(&["identity, zstd"]), Ok(Some(ContentCoding::Zstd)));
        assert_eq!(declared(&["deflate"]), Ok(Some(ContentCoding::Deflate)));
        for refused in [&["br"][..], &["gzip, gzip"], &["gzip", "zstd"], &["gzipped"]] {
            assert!(matches!(declared(refused), Err(ApiError::UnknownEncoding { .. })), "{refused:?}");
        }
    }
}
