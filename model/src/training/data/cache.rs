//! The token cache's file: ids of all rows one after another, a table of the rows, notes, and a footer with hashes.
//!
//! Written and read by `data_set`. Numbers are little-endian; a file is not used before its hash is verified.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::ids::Ids;
use crate::checkpoint::open_file::OpenFile;
use crate::training::error::{Error, Result};

/// Version of the layout: a file with another version is built again.
const MAGIC: u64 = u64::from_le_bytes(*b"encdec\0\x02");
const ENTRY_BYTES: usize = 32;
const FOOTER_BYTES: usize = 88;
/// Bytes hashed at a time.
const HASHED_BYTES: usize = 1 << 20;
/// Most malformed rows that are described: a file without good rows should not become a cache of descriptions.
const DESCRIBED_BAD_ROWS: usize = 1000;

/// Entry of a row in the table: where its ids are, and where the row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the first id in the file.
    pub start: u64,
    pub source_len: u32,
    /// Number of target ids, which follow those of the source.
    pub target_len: u32,
    /// Number of the label in the notes; 0 without labels.
    pub label: u32,
    /// Whether the source was given as ids.
    pub written_as_ids: bool,
    /// Number of the JSONL file.
    pub file: u32,
    /// Line in the file, from 1.
    pub line: u32,
}

/// A malformed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bad {
    pub file: u32,
    pub line: u32,
    pub problem: String,
}

/// Labels and malformed rows, kept beside the ids.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Labels in order of first occurrence.
    pub labels: Vec<String>,
    /// Number of malformed rows.
    pub skipped: u64,
    /// The first malformed rows, described.
    pub bad_rows: Vec<Bad>,
}

impl Notes {
    pub fn skip(&mut self, bad: Bad) {
        self.skipped += 1;
        if self.bad_rows.len() < DESCRIBED_BAD_ROWS {
            self.bad_rows.push(bad);
        }
    }
}

/// A cache that is being written, under a temporary name.
pub(super) struct Writer {
    path: PathBuf,
    partial: PathBuf,
    output: BufWriter<File>,
    hash: Xxh3,
    /// Hash of the rows, whatever file and line each is from.
    rows_hash: Xxh3,
    ids: u64,
    entries: Vec<Entry>,
}

impl Writer {
    pub fn create(path: &Path) -> Result<Self> {
        let partial = path.with_extension("partial");
        let file = File::create(&partial).map_err(|source| failed("write", &partial, source))?;
        let output = BufWriter::with_capacity(1 << 20, file);
        Ok(Self {
            path: path.to_owned(),
            partial,
            output,
            hash: Xxh3::new(),
            rows_hash: Xxh3::new(),
            ids: 0,
            entries: Vec::new(),
        })
    }

    /// Adds a row; its `start` is set here.
    pub fn push(&mut self, source: &[u32], target: &[u32], entry: Entry) -> Result<()> {
        self.entries.push(Entry { start: self.ids, ..entry });
        self.ids += (source.len() + target.len()) as u64;
        let bytes: Vec<u8> = source.iter().chain(target).flat_map(|id| id.to_le_bytes()).collect();
        self.rows_hash.update(&Entry { start: 0, file: 0, line: 0, ..entry }.to_bytes());
        self.rows_hash.update(&bytes);
        self.write(&bytes)
    }

    /// Completes the file and renames it. A crash before all of it is on disk shows in its hash.
    pub fn finish(mut self, notes: &Notes, key: u128) -> Result<()> {
        for entry in std::mem::take(&mut self.entries) {
            let bytes = entry.to_bytes();
            self.entries.push(entry);
            self.write(&bytes)?;
        }
        // Rows name their labels by number.
        self.rows_hash.update(&serde_json::to_vec(&notes.labels).expect("texts are always JSON"));
        let notes = serde_json::to_vec(notes).expect("numbers and texts are always JSON");
        self.write(&notes)?;
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        let counts = [MAGIC, self.ids, self.entries.len() as u64, notes.len() as u64];
        counts.iter().for_each(|count| footer.extend(count.to_le_bytes()));
        footer.extend(key.to_le_bytes());
        footer.extend(self.rows_hash.digest128().to_le_bytes());
        footer.extend(self.hash.digest128().to_le_bytes());
        let footer_hash = xxh3_128(&footer) as u64;
        footer.extend(footer_hash.to_le_bytes());
        self.write(&footer)?;
        self.output.flush().map_err(|source| failed("write", &self.partial, source))?;
        fs::rename(&self.partial, &self.path).map_err(|source| failed("write", &self.path, source))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.output.write_all(bytes).map_err(|source| failed("write", &self.partial, source))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A finished file has been renamed, so there is nothing to remove; a failure to remove cannot be handled here.
        let _ = fs::remove_file(&self.partial);
    }
}

/// A verified cache. Rows are read on demand.
#[derive(Debug)]
pub(super) struct Cache {
    file: OpenFile,
    rows: usize,
    table_start: usize,
    pub notes: Notes,
    /// Hash of the files' contents.
    pub key: u128,
    /// Hash of the rows that the files hold.
    pub rows_hash: u128,
}

/// The ids of one row.
#[derive(Debug)]
pub(super) struct RowIds {
    bytes: Vec<u8>,
    source_bytes: usize,
}

impl RowIds {
    /// Source and target.
    pub fn both(&self) -> (Ids<'_>, Ids<'_>) {
        let (source, target) = self.bytes.split_at(self.source_bytes);
        (Ids::of_bytes(source), Ids::of_bytes(target))
    }
}

impl Cache {
    /// Opens and verifies a file; `None` when it is absent, damaged or of another layout.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => OpenFile::new(path.to_owned(), file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", path, source)),
        };
        let Some(body_bytes) = file.bytes().checked_sub(FOOTER_BYTES) else { return Ok(None) };
        let mut footer = [0; FOOTER_BYTES];
        file.read_into(body_bytes, &mut footer)?;
        let Some(Footer { ids, rows, notes_bytes, key, rows_hash, body_hash }) = Footer::parse(&footer) else {
            return Ok(None);
        };
        let parts = [ids.checked_mul(4), rows.checked_mul(ENTRY_BYTES), Some(notes_bytes)];
        let ends = parts.into_iter().try_fold(0_usize, |end, part| end.checked_add(part?));
        if ends != Some(body_bytes) || hash_of_start(&file, body_bytes)? != body_hash {
            return Ok(None);
        }
        let notes = file.read(body_bytes - notes_bytes..body_bytes)?;
        let Ok(notes) = serde_json::from_slice(&notes) else { return Ok(None) };
        Ok(Some(Self { file, rows, table_start: ids * 4, notes, key, rows_hash }))
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn entry(&self, row: usize) -> Result<Entry> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let mut bytes = [0; ENTRY_BYTES];
        self.file.read_into(self.table_start + row * ENTRY_BYTES, &mut bytes)?;
        Ok(Entry::from_bytes(&bytes))
    }

    pub fn ids(&self, entry: &Entry) -> Result<RowIds> {
        let source_bytes = entry.source_len as usize * 4;
        let mut bytes = vec![0; source_bytes + entry.target_len as usize * 4];
        self.file.read_into(entry.start as usize * 4, &mut bytes)?;
        Ok(RowIds { bytes, source_bytes })
    }
}

/// The last bytes of a file: lengths and hashes of the parts before them.
struct Footer {
    ids: usize,
    rows: usize,
    notes_bytes: usize,
    key: u128,
    rows_hash: u128,
    body_hash: u128,
}

impl Footer {
    /// `None` when the footer is damaged or of another layout.
    fn parse(footer: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let (counted, footer_hash) = footer.split_last_chunk::<8>()?;
        let number = |index: usize| counted[index * 8..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let hash = |start: usize| counted[start..].first_chunk().map(|bytes| u128::from_le_bytes(*bytes));
        if u64::from_le_bytes(*footer_hash) != xxh3_128(counted) as u64 || number(0)? != MAGIC {
            return None;
        }
        let [ids, rows, notes_bytes] = [number(1)?, number(2)?, number(3)?].map(|count| count as usize);
        Some(Self { ids, rows, notes_bytes, key: hash(32)?, rows_hash: hash(48)?, body_hash: hash(64)? })
    }
}

/// The hash of a file's first bytes.
fn hash_of_start(file: &OpenFile, bytes: usize) -> Result<u128> {
    let mut hash = Xxh3::new();
    let mut block = vec![0; HASHED_BYTES.min(bytes)];
    for start in (0..bytes).step_by(HASHED_BYTES) {
        let block = &mut block[..HASHED_BYTES.min(bytes - start)];
        file.read_into(start, block)?;
        hash.update(block);
    }
    Ok(hash.digest128())
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.start.to_le_bytes());
        let flags = u32::from(self.written_as_ids);
        let numbers = [self.source_len, self.target_len, self.label, flags, self.file, self.line];
        for (place, number) in bytes[8..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let number = |index: usize| Ids::of_bytes(&bytes[8..]).get(index);
        let (low, high) = (Ids::of_bytes(bytes).get(0), Ids::of_bytes(bytes).get(1));
        Self {
            start: u64::from(low) | u64::from(high) << 32,
            source_len: number(0),
            target_len: number(1),
            label: number(2),
            written_as_ids: number(3) != 0,
            file: number(4),
            line: number(5),
        }
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const ENTRY: Entry =
        Entry { start: 0, source_len: 2, target_len: 1, label: 7, written_as_ids: true, file: 3, line: 1 << 30 };

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("rows.tokens");
        let mut writer = Writer::create(&path).unwrap();
        writer.push(&[1, 2], &[3], ENTRY).unwrap();
        writer.push(&[4], &[], Entry { source_len: 1, target_len: 0, written_as_ids: false, ..ENTRY }).unwrap();
        let mut notes = Notes { labels: vec!["a".to_owned()], ..Notes::default() };
        notes.skip(Bad { file: 0, line: 9, problem: "it is wrong".to_owned() });
        writer.finish(&notes, 77).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(&written(folder.path())).unwrap().unwrap();
        assert_eq!((cache.rows(), cache.key, cache.notes.skipped, cache.notes.bad_rows[0].line), (2, 77, 1, 9));
        assert_eq!(cache.entry(0).unwrap(), ENTRY);
        for (row, expected) in [(0, (vec![1, 2], vec![3])), (1, (vec![4], vec![]))] {
            let ids = cache.ids(&cache.entry(row).unwrap()).unwrap();
            let (source, target) = ids.both();
            assert_eq!((source.to_vec(), target.to_vec()), expected);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the partial file is gone");
    }

    #[test]
    fn a_file_with_any_byte_changed_or_cut_off_is_none() {
        let folder = TempDir::new().unwrap();
        let path = written(folder.path());
        let whole = fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            assert!(Cache::open(&path).unwrap().is_none(), "byte {byte} may change");
            fs::write(&path, &whole[..byte]).unwrap();
            assert!(Cache::open(&path).unwrap().is_none(), "{byte} bytes will do");
        }
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_open_is_an_error_that_names_it() {
        let folder = TempDir::new().unwrap();
        let path = written(folder.path());
        let cache = Cache::open(&path).unwrap().unwrap();
        let entry = cache.entry(0).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
        for message in [cache.entry(1).unwrap_err().to_string(), cache.ids(&entry).unwrap_err().to_string()] {
            assert!(message.contains("rows.tokens was changed while it was read"), "{message}");
        }
    }

    #[test]
    fn a_cache_that_is_given_up_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let mut writer = Writer::create(&folder.path().join("rows.tokens")).unwrap();
        writer.push(&[1, 2], &[3], ENTRY).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
