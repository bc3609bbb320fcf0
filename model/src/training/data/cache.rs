//! The token cache's file: ids of all rows one after another, a table of the rows, notes, and a footer with hashes.
//!
//! Written and read by `data_set`. Numbers are little-endian; nothing in a file is believed before its hash is right.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::ids::Ids;
use crate::checkpoint::mapped::Bytes;
use crate::training::error::{Error, Result};

/// Changes with the layout, so that a file of another one is built anew.
const MAGIC: u64 = u64::from_le_bytes(*b"encdec\0\x02");
const ENTRY_BYTES: usize = 32;
const FOOTER_BYTES: usize = 88;
/// Malformed rows that are described; a file that has nothing else should not become a cache of descriptions.
const DESCRIBED_BAD_ROWS: usize = 1000;

/// Where a row's ids are, and what else is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the first id in the file.
    pub start: u64,
    pub source_len: u32,
    /// Ids after those of the source.
    pub target_len: u32,
    /// Number of the label in the notes; 0 without labels.
    pub label: u32,
    /// Whether the source was given as ids.
    pub written_as_ids: bool,
    /// Number of the file.
    pub file: u32,
    /// Line in it, from 1.
    pub line: u32,
}

/// A malformed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bad {
    pub file: u32,
    pub line: u32,
    pub problem: String,
}

/// What is kept beside the ids.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Labels in the order in which they were met.
    pub labels: Vec<String>,
    /// Malformed rows.
    pub skipped: u64,
    /// The first of them.
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

/// A cache being written, beside the place that it will have.
pub(super) struct Writer {
    path: PathBuf,
    partial: PathBuf,
    output: BufWriter<File>,
    hash: Xxh3,
    /// Of the rows, whatever file and line each is from.
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

    /// Ends the file and gives it its name. A crash before the system has written all of it shows in its hash.
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
        // Gone already when the file was finished; elsewhere nothing can be done about a refusal.
        let _ = fs::remove_file(&self.partial);
    }
}

/// A whole cache, mapped.
#[derive(Debug)]
pub(super) struct Cache {
    bytes: Bytes,
    rows: usize,
    table_start: usize,
    pub notes: Notes,
    /// Of the files' contents.
    pub key: u128,
    /// Of the rows that they hold.
    pub rows_hash: u128,
}

impl Cache {
    /// Opens a file that is whole; `None` when it is absent, damaged or of another layout.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", path, source)),
        };
        let length = file.metadata().map_err(|source| failed("read", path, source))?.len();
        if length < FOOTER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = Bytes::map(path, &file)?;
        Ok(Self::check(bytes))
    }

    fn check(bytes: Bytes) -> Option<Self> {
        let (body, footer) = bytes.as_slice().split_last_chunk::<FOOTER_BYTES>()?;
        let (counted, footer_hash) = footer.split_last_chunk::<8>()?;
        let number = |index: usize| counted[index * 8..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let hash = |start: usize| counted[start..].first_chunk().map(|bytes| u128::from_le_bytes(*bytes));
        if u64::from_le_bytes(*footer_hash) != xxh3_128(counted) as u64
            || number(0)? != MAGIC
            || hash(64)? != xxh3_128(body)
        {
            return None;
        }
        let [ids, rows, notes_bytes] = [number(1)?, number(2)?, number(3)?].map(|count| count as usize);
        let table_start = ids.checked_mul(4)?;
        let notes_start = table_start.checked_add(rows.checked_mul(ENTRY_BYTES)?)?;
        if notes_start.checked_add(notes_bytes)? != body.len() {
            return None;
        }
        let notes = serde_json::from_slice(&body[notes_start..]).ok()?;
        let (key, rows_hash) = (hash(32)?, hash(48)?);
        Some(Self { rows, table_start, notes, key, rows_hash, bytes })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn entry(&self, row: usize) -> Entry {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let start = self.table_start + row * ENTRY_BYTES;
        let bytes = self.bytes.as_slice()[start..].first_chunk().expect("the table's length was checked");
        Entry::from_bytes(bytes)
    }

    /// Source and target.
    pub fn ids(&self, entry: &Entry) -> (Ids<'_>, Ids<'_>) {
        let start = entry.start as usize * 4;
        let middle = start + entry.source_len as usize * 4;
        let end = middle + entry.target_len as usize * 4;
        let bytes = self.bytes.as_slice();
        (Ids::of_bytes(&bytes[start..middle]), Ids::of_bytes(&bytes[middle..end]))
    }
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
        assert_eq!(cache.entry(0), ENTRY);
        let (source, target) = cache.ids(&cache.entry(0));
        assert_eq!((source.to_vec(), target.to_vec()), (vec![1, 2], vec![3]));
        let (source, target) = cache.ids(&cache.entry(1));
        assert_eq!((source.to_vec(), target.to_vec()), (vec![4], vec![]));
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
    fn a_cache_that_is_given_up_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let mut writer = Writer::create(&folder.path().join("rows.tokens")).unwrap();
        writer.push(&[1, 2], &[3], ENTRY).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
