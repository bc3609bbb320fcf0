//! Inflates a compressed body, piece by piece, within the limit of a body and the memory of all bodies.
//!
//! Run by `body` on a thread of the pool that parses. A body that would become too large is refused as soon as it is,
//! however small it came.

use std::io::Read;

use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use super::body::{ReceivedBody, SMALL_BODY_BYTES};
use super::budget::Share;
use super::content_coding::ContentCoding;
use super::error::ApiError;
use crate::process::allocator::try_reserve;

/// Bytes that are inflated at once.
const PIECE_BYTES: usize = 16 << 10;
/// Most members of gzip or frames of zstd in a body: each begins with new tables, however small it is.
const PARTS: usize = 1024;
/// Largest window of zstd: HTTP allows no larger one (RFC 9659). A decoder takes this memory in addition.
const WINDOW_BYTES: u64 = 8 << 20;

/// The plain body, of at most `limit` bytes. Its share of the memory counts both forms while it is inflated.
///
/// # Errors
/// [`ApiError::BodyTooLarge`], [`ApiError::BrokenEncoding`], or that there is no room.
pub fn inflate(body: ReceivedBody, coding: ContentCoding, limit: usize) -> Result<ReceivedBody, ApiError> {
    let ReceivedBody { bytes: packed, held } = body;
    let mut inflating = Inflating { bytes: Vec::new(), share: held, packed_bytes: packed.len(), coding, limit };
    let mut rest = packed.as_slice();
    match coding {
        ContentCoding::Deflate => inflating.pour(ZlibDecoder::new(&mut rest))?,
        // These two may consist of several parts.
        ContentCoding::Gzip => {
            inflating.pour(GzDecoder::new(&mut rest))?;
            for _ in 1..PARTS {
                if !rest.is_empty() {
                    inflating.pour(GzDecoder::new(&mut rest))?;
                }
            }
        }
        ContentCoding::Zstd => {
            for _ in 0..PARTS {
                if !rest.is_empty() {
                    let frame = StreamingDecoder::new_with_max_window_size(&mut rest, WINDOW_BYTES);
                    inflating.pour(frame.map_err(|error| inflating.broken(&error))?)?;
                }
            }
        }
    }
    if !rest.is_empty() {
        return Err(inflating.broken(&"there are bytes behind its end, or more than 1024 parts"));
    }
    drop(packed);
    let Inflating { bytes, mut share, .. } = inflating;
    share.settle(if bytes.len() > SMALL_BODY_BYTES { bytes.len() } else { 0 });
    Ok(ReceivedBody { bytes, held: share })
}

/// A body that is being inflated.
struct Inflating {
    bytes: Vec<u8>,
    share: Share,
    packed_bytes: usize,
    coding: ContentCoding,
    limit: usize,
}

impl Inflating {
    fn pour(&mut self, mut from: impl Read) -> Result<(), ApiError> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            let count = from.read(&mut piece).map_err(|error| self.broken(&error))?;
            if count == 0 {
                return Ok(());
            }
            let length = self.bytes.len() + count;
            if length > self.limit {
                return Err(ApiError::BodyTooLarge { limit: self.limit });
            }
            if length > SMALL_BODY_BYTES {
                self.share.grow_to(self.packed_bytes + length)?;
            }
            try_reserve(&mut self.bytes, count)?;
            self.bytes.extend_from_slice(&piece[..count]);
        }
    }

    fn broken(&self, problem: &impl ToString) -> ApiError {
        ApiError::BrokenEncoding { encoding: self.coding.name(), problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::sample::Index;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::super::budget::{Budget, BudgetLimits};
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    type Packer = fn(&[u8]) -> Vec<u8>;
    const PACKERS: [(ContentCoding, Packer); 3] =
        [(ContentCoding::Gzip, gzip), (ContentCoding::Deflate, deflate), (ContentCoding::Zstd, zstd)];

    fn budget(bytes: usize) -> Budget {
        Budget::new(BudgetLimits { bytes, peer_bytes: bytes })
    }

    fn inflated(bytes: Vec<u8>, coding: ContentCoding, budget: &Budget) -> Result<ReceivedBody, ApiError> {
        inflate(ReceivedBody { bytes, held: budget.share(None) }, coding, LIMIT)
    }

    #[test]
    fn a_body_comes_back_as_it_was_and_keeps_its_own_share() {
        for length in [0, 1, SMALL_BODY_BYTES, 3 * SMALL_BODY_BYTES, LIMIT] {
            let text: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            for (coding, pack) in PACKERS {
                let budget = budget(4 * LIMIT);
                let body = inflated(pack(&text), coding, &budget).unwrap();
                assert!(body.bytes == text, "{coding:?} of {length}");
                assert_eq!(budget.used_bytes(), if length > SMALL_BODY_BYTES { length } else { 0 });
            }
        }
    }

    #[test]
    fn parts_that_follow_each_other_are_one_body() {
        for (coding, pack) in [PACKERS[0], PACKERS[2]] {
            let bytes = [pack(b"{\"prompt\":"), pack(b"\"p\"}")].concat();
            assert_eq!(inflated(bytes, coding, &budget(LIMIT)).unwrap().bytes, b"{\"prompt\":\"p\"}");
            let most = pack(b"x").repeat(PARTS);
            assert_eq!(inflated(most.clone(), coding, &budget(LIMIT)).unwrap().bytes.len(), PARTS);
            let refused = inflated([most, pack(b"x")].concat(), coding, &budget(LIMIT)).unwrap_err();
            assert!(refused.to_string().contains("more than 1024 parts"), "{coding:?}: {refused}");
        }
    }

    #[test]
    fn a_bomb_is_refused_as_soon_as_it_is_too_large() {
        let zeros = vec![0; 4 * LIMIT];
        for (coding, pack) in PACKERS {
            let bytes = pack(&zeros);
            assert!(bytes.len() < LIMIT / 16, "{coding:?}");
            let budget = budget(4 * LIMIT);
            let refused = inflated(bytes, coding, &budget).unwrap_err();
            assert_eq!(refused, ApiError::BodyTooLarge { limit: LIMIT }, "{coding:?}");
            assert_eq!(budget.used_bytes(), 0);
        }
    }

    #[test]
    fn there_has_to_be_room_for_the_plain_body() {
        for (coding, pack) in PACKERS {
            let refused = inflated(pack(&vec![b'x'; LIMIT / 2]), coding, &budget(LIMIT / 4)).unwrap_err();
            assert_eq!(refused, ApiError::TooManyBodies { limit: LIMIT / 4 }, "{coding:?}");
        }
    }

    #[test]
    fn what_is_not_whole_or_has_more_behind_it_is_refused() {
        for (coding, pack) in PACKERS {
            let whole = pack(b"{\"prompt\": \"p\"}");
            let short = whole[..whole.len() - 1].to_vec();
            for bytes in [short, [whole.as_slice(), b"x"].concat(), b"{}".to_vec()] {
                let refused = inflated(bytes, coding, &budget(LIMIT)).unwrap_err();
                assert!(matches!(refused, ApiError::BrokenEncoding { .. }), "{coding:?}: {refused}");
            }
        }
    }

    #[test]
    fn a_window_beyond_what_http_allows_is_refused() {
        // A frame header with a window of 16 MiB, and one empty last block.
        let bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
        let refused = inflated(bytes, ContentCoding::Zstd, &budget(LIMIT)).unwrap_err();
        assert!(matches!(refused, ApiError::BrokenEncoding { .. }), "{refused}");
    }

    proptest::proptest! {
        /// A damaged body is refused or read, and its memory is given back; nothing else happens.
        #[test]
        fn damaged_bodies_are_bounded_and_leave_nothing_behind(
            which in 0..3_usize,
            text in vec(any::<u8>(), 0..4096),
            damage in vec((any::<Index>(), any::<u8>()), 0..8),
            cut in any::<Index>(),
        ) {
            let (coding, pack) = PACKERS[which];
            let mut bytes = pack(&text.repeat(4));
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(1 + cut.index(bytes.len()));
            let budget = budget(4 * LIMIT);
            if let Ok(body) = inflated(bytes, coding, &budget) {
                assert!(body.bytes.len() <= LIMIT);
            }
            assert_eq!(budget.used_bytes(), 0);
        }
    }
}
