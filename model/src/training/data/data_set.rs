//! The rows of some files as token ids, read from the token cache, which is built first if it does not match the files.
//!
//! Opened by the training run, read by `feed`. The cache holds the ids of the texts alone, uncut, without the tokens
//! that an objective puts around them, so that one cache serves every objective.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::cache::{Cache, Entry, RowIds, failed};
use super::ids::Ids;
use super::lines::hash_of;
use super::raw_row::RowKind;
use super::reading::{Reading, Report, contents_key, skip};
use super::tokenise::{self, Build};
use crate::out_file::{make_folder, open_lock};
use crate::tokenizer::Tokenizer;
use crate::training::error::{Error, Result};
use crate::training::settings::BadRows;

/// Rows of token ids.
#[derive(Debug)]
pub struct DataSet {
    cache: Cache,
    kind: RowKind,
    labels: Vec<String>,
    /// Number in `labels` of each label in the cache; `None` for one that is unknown.
    label_of: Vec<Option<u32>>,
    /// Rows of the cache that are used, when some are not.
    used: Option<Vec<usize>>,
    skipped: u64,
}

/// One row, read from the cache.
#[derive(Debug)]
pub(in crate::training) struct StoredRow {
    ids: RowIds,
    label: u32,
    written_as_ids: bool,
}

/// Contents of a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::training) struct Row<'a> {
    /// The text, or the source.
    pub source: Ids<'a>,
    /// The target; empty in other kinds of rows.
    pub target: Ids<'a>,
    /// Number of the label; 0 in other kinds of rows.
    pub label: u32,
    /// Whether the source was given as ids, which are used unchanged.
    pub written_as_ids: bool,
}

impl StoredRow {
    pub fn row(&self) -> Row<'_> {
        let (source, target) = self.ids.both();
        Row { source, target, label: self.label, written_as_ids: self.written_as_ids }
    }
}

impl DataSet {
    /// Opens files through the token cache in `cache_folder`, which is built if it does not match them. Uses the
    /// threads of the rayon pool that it is called in.
    ///
    /// # Errors
    /// Files that cannot be read or written; with [`BadRows::Fail`] the first malformed row; no row at all.
    pub fn open(
        files: &[PathBuf],
        how: &Reading<'_>,
        cache_folder: &Path,
        report: &mut dyn FnMut(Report<'_>),
    ) -> Result<Self> {
        make_folder(cache_folder).map_err(|source| failed("create", cache_folder, source))?;
        let path = cache_folder.join(format!("{:032x}.tokens", name_of(files, how)));
        let (cache, is_new) = match Self::cached(files, &path)? {
            Some(cache) => (cache, false),
            None => {
                // A second process waits here, and finds the cache that the first one built.
                let lock_path = cache_folder.join("lock");
                let lock = open_lock(&lock_path).map_err(|source| failed("write", &lock_path, source))?;
                lock.lock().map_err(|source| failed("lock", &lock_path, source))?;
                match Self::cached(files, &path)? {
                    Some(cache) => (cache, false),
                    None => (tokenise::build(Build { files, how, path: &path }, report)?, true),
                }
            }
        };
        if !is_new {
            report_bad_rows(files, &cache, how.bad_rows, report)?;
        }
        Self::assemble(files, how, cache, report)
    }

    /// The cache, if it was made from the present contents of the files.
    fn cached(files: &[PathBuf], path: &Path) -> Result<Option<Cache>> {
        let Some(cache) = Cache::open(path)? else { return Ok(None) };
        let hashes = files.iter().map(|file| hash_of(file)).collect::<Result<Vec<_>>>()?;
        Ok((cache.key == contents_key(&hashes)).then_some(cache))
    }

    fn assemble(
        files: &[PathBuf],
        how: &Reading<'_>,
        cache: Cache,
        report: &mut dyn FnMut(Report<'_>),
    ) -> Result<Self> {
        let mut labels = how.labels.map_or_else(|| cache.notes.labels.clone(), <[String]>::to_vec);
        if how.labels.is_none() {
            labels.sort_unstable();
        }
        let number = |own: &String| labels.iter().position(|label| label == own).map(|number| number as u32);
        let label_of: Vec<Option<u32>> = cache.notes.labels.iter().map(number).collect();
        let mut set = Self { kind: how.kind, labels, label_of, used: None, skipped: cache.notes.skipped, cache };
        if set.label_of.contains(&None) {
            set.leave_unknown_labels_out(files, how.bad_rows, report)?;
        }
        if set.rows() == 0 {
            return Err(Error::NoRows { files: files.to_vec(), skipped: set.skipped });
        }
        Ok(set)
    }

    fn leave_unknown_labels_out(
        &mut self,
        files: &[PathBuf],
        bad_rows: BadRows,
        report: &mut dyn FnMut(Report<'_>),
    ) -> Result<()> {
        let mut used = Vec::new();
        for row in 0..self.cache.rows() {
            let entry = self.cache.entry(row)?;
            if self.label_of[entry.label as usize].is_some() {
                used.push(row);
                continue;
            }
            let label = &self.cache.notes.labels[entry.label as usize];
            let problem = format!("its label {label:?} is none of {}", self.labels.join(", "));
            skip(&files[entry.file as usize], entry.line as usize, &problem, bad_rows, report)?;
            self.skipped += 1;
        }
        self.used = Some(used);
        Ok(())
    }

    /// Number of rows, at least one.
    pub fn rows(&self) -> usize {
        self.used.as_ref().map_or_else(|| self.cache.rows(), Vec::len)
    }

    /// Kind of the rows.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// The labels in their order; empty for other kinds of rows.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Number of malformed rows that were left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Hash of the rows, whatever way their files write them.
    pub fn fingerprint(&self) -> u128 {
        self.cache.rows_hash
    }

    /// A row by its number.
    pub(in crate::training) fn row(&self, index: usize) -> Result<StoredRow> {
        let entry = self.entry(index)?;
        let label = match self.kind {
            RowKind::Labelled => self.label_of[entry.label as usize].expect("rows of unknown labels are left out"),
            RowKind::Text | RowKind::Pair => 0,
        };
        Ok(StoredRow { ids: self.cache.ids(&entry)?, label, written_as_ids: entry.written_as_ids })
    }

    /// Number of ids in a row's source, known without reading them.
    pub(in crate::training) fn source_len(&self, index: usize) -> Result<usize> {
        Ok(self.entry(index)?.source_len as usize)
    }

    fn entry(&self, index: usize) -> Result<Entry> {
        self.cache.entry(self.used.as_ref().map_or(index, |used| used[index]))
    }
}

/// Reports the malformed rows that the cache describes.
fn report_bad_rows(
    files: &[PathBuf],
    cache: &Cache,
    bad_rows: BadRows,
    report: &mut dyn FnMut(Report<'_>),
) -> Result<()> {
    let bad = cache.notes.bad_rows.iter();
    bad.map(|bad| (&files[bad.file as usize], bad.line as usize, &bad.problem))
        .try_for_each(|(path, line, problem)| skip(path, line, problem, bad_rows, report))
}

/// Hash of everything but the files' contents: the cache of changed files replaces this one.
fn name_of(files: &[PathBuf], how: &Reading<'_>) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&[how.kind as u8]);
    hash.update(&how.tokenizer.map_or(0, Tokenizer::fingerprint).to_le_bytes());
    [how.source_vocab, how.target_vocab].iter().for_each(|vocab| hash.update(&vocab.to_le_bytes()));
    for file in files {
        let name = file.as_os_str().as_encoded_bytes();
        hash.update(&name.len().to_le_bytes());
        hash.update(name);
    }
    hash.digest128()
}
