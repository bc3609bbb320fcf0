//! The rows of some files as token ids, from the token cache; built first when there is none that fits.
//!
//! Opened by the training run, read by `feed`. Ids are those of the texts alone, uncut: what an objective puts around
//! them is not cached, so that one cache serves all of them.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::cache::{Cache, Entry, RowIds, failed};
use super::ids::Ids;
use super::lines::hash_of;
use super::raw_row::RowKind;
use super::tokenise::{self, Build};
use crate::out_file::{make_folder, open_lock};
use crate::tokenizer::Tokenizer;
use crate::training::error::{Error, Result};
use crate::training::settings::BadRows;

/// How files are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What their rows hold.
    pub kind: RowKind,
    /// Reads texts; rows of ids do without.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Ids of a source lie below.
    pub source_vocab: usize,
    /// Ids of a target lie below.
    pub target_vocab: usize,
    /// The labels that there are, in their order; without them those that are found, sorted.
    pub labels: Option<&'a [String]>,
    /// What a malformed row does.
    pub bad_rows: BadRows,
}

/// What is told while files are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report<'a> {
    /// The token cache grows.
    Progress(CacheProgress),
    /// A malformed row is left out.
    Skipped {
        /// Its file.
        path: &'a Path,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'a str,
    },
}

/// How far the token cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheProgress {
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files read.
    pub bytes: u64,
    /// Bytes of the files.
    pub total_bytes: u64,
}

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

/// What is in a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::training) struct Row<'a> {
    /// The text, or what is read.
    pub source: Ids<'a>,
    /// What is to be written; empty in other kinds of rows.
    pub target: Ids<'a>,
    /// Number of the label; 0 in other kinds of rows.
    pub label: u32,
    /// Whether the source was given as ids, which are taken as they are.
    pub written_as_ids: bool,
}

impl StoredRow {
    pub fn row(&self) -> Row<'_> {
        let (source, target) = self.ids.both();
        Row { source, target, label: self.label, written_as_ids: self.written_as_ids }
    }
}

impl DataSet {
    /// Opens files, with the token cache in `cache_folder` or, when it has none that fits, by building it. Uses the
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
                // Whoever comes second waits, and finds what the first one built.
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

    /// The cache, when it was made of what the files now hold.
    fn cached(files: &[PathBuf], path: &Path) -> Result<Option<Cache>> {
        let Some(cache) = Cache::open(path)? else { return Ok(None) };
        let hashes = files.iter().map(|file| hash_of(file)).collect::<Result<Vec<_>>>()?;
        Ok((cache.key == key_of(&hashes)).then_some(cache))
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

    /// How many rows there are; never none.
    pub fn rows(&self) -> usize {
        self.used.as_ref().map_or_else(|| self.cache.rows(), Vec::len)
    }

    /// What they hold.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// The labels in their order; none in other kinds of rows.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many malformed rows were left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Another number for every other rows; how a file writes them makes no difference.
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

    /// Ids of a row's source, known without reading them.
    pub(in crate::training) fn source_len(&self, index: usize) -> Result<usize> {
        Ok(self.entry(index)?.source_len as usize)
    }

    fn entry(&self, index: usize) -> Result<Entry> {
        self.cache.entry(self.used.as_ref().map_or(index, |used| used[index]))
    }
}

/// Tells of one malformed row, or ends with it.
pub(super) fn skip(
    path: &Path,
    line: usize,
    problem: &str,
    bad_rows: BadRows,
    report: &mut dyn FnMut(Report<'_>),
) -> Result<()> {
    match bad_rows {
        BadRows::Fail => Err(Error::Row { path: path.to_owned(), line, problem: problem.to_owned() }),
        BadRows::Skip => {
            report(Report::Skipped { path, line, problem });
            Ok(())
        }
    }
}

/// What was wrong when the cache was built is as wrong today.
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

/// Of everything but the files' contents: the next cache of changed files takes the place of this one.
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

/// Of the files' contents, by the hash of each.
pub(super) fn key_of(hashes: &[u128]) -> u128 {
    let mut hash = Xxh3::new();
    hashes.iter().for_each(|one| hash.update(&one.to_le_bytes()));
    hash.digest128()
}
