//! Builds the token cache: lines become rows, then ids, many at a time on all threads, written in the files' order.
//!
//! Called by `data_set` if there is no cache that matches the files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cache::{Bad, Cache, Entry, Notes, Writer, failed};
use super::lines::{Line, Lines};
use super::raw_row::{Content, Problem, RawRow};
use super::reading::{CacheProgress, Reading, Report, contents_key, skip};
use crate::input;
use crate::training::error::Result;

/// Number of lines that are tokenised together: enough for all threads, little memory.
const CHUNK_ROWS: usize = 4096;
const CHUNK_BYTES: usize = 16 << 20;

/// Description of the cache to build.
pub(super) struct Build<'a> {
    pub files: &'a [PathBuf],
    pub how: &'a Reading<'a>,
    /// Path of the cache.
    pub path: &'a Path,
}

/// A tokenised row.
pub(super) struct Tokenised {
    pub source: Vec<u32>,
    pub target: Vec<u32>,
    pub label: Option<String>,
    pub written_as_ids: bool,
}

/// State while files are read.
struct Growing<'a, 'r> {
    build: Build<'a>,
    writer: Writer,
    notes: Notes,
    labels: HashMap<String, u32>,
    progress: CacheProgress,
    report: &'r mut dyn FnMut(Report<'_>),
}

/// Builds the cache of some files and opens it.
pub(super) fn build(build: Build<'_>, report: &mut dyn FnMut(Report<'_>)) -> Result<Cache> {
    let length = |file: &PathBuf| {
        let found = input::open(file).and_then(|file| file.metadata());
        found.map(|found| found.len()).map_err(|source| failed("read", file, source))
    };
    let total_bytes = build.files.iter().map(length).sum::<Result<u64>>()?;
    let (files, path) = (build.files, build.path);
    let mut growing = Growing {
        writer: Writer::create(path)?,
        build,
        notes: Notes::default(),
        labels: HashMap::new(),
        progress: CacheProgress { rows: 0, bytes: 0, total_bytes },
        report,
    };
    let mut hashes = Vec::new();
    for file in 0..files.len() {
        hashes.push(growing.read_file(file)?);
    }
    growing.writer.finish(&growing.notes, contents_key(&hashes))?;
    let gone = || failed("read", path, std::io::ErrorKind::InvalidData.into());
    Cache::open(path)?.ok_or_else(gone)
}

impl Growing<'_, '_> {
    /// Adds a file's rows; returns the hash of its contents as they were read.
    fn read_file(&mut self, file: usize) -> Result<u128> {
        let path = &self.build.files[file];
        let mut lines = Lines::open(path)?;
        let bytes_before = self.progress.bytes;
        loop {
            let chunk = next_chunk(&mut lines)?;
            if chunk.is_empty() {
                return Ok(lines.hash());
            }
            let how = self.build.how;
            let rows: Vec<_> = chunk
                .into_par_iter()
                .map(|line| {
                    let row = line.text.and_then(|text| RawRow::parse(&text, how.kind));
                    (line.number, row.and_then(|row| Tokenised::of(row, how)))
                })
                .collect();
            for (line, row) in rows {
                self.add(file, line, row)?;
            }
            self.progress.bytes = bytes_before + lines.bytes();
            (self.report)(Report::Progress(self.progress));
        }
    }

    fn add(&mut self, file: usize, line: usize, row: std::result::Result<Tokenised, Problem>) -> Result<()> {
        let place = (u32::try_from(file), u32::try_from(line));
        let (Ok(file_number), Ok(line_number)) = place else { return self.bad(file, line, "it is too far down") };
        let Tokenised { source, target, label, written_as_ids } = match row {
            Ok(row) => row,
            Err(problem) => return self.bad(file, line, &problem),
        };
        let entry = Entry {
            start: 0,
            source_len: source.len() as u32,
            target_len: target.len() as u32,
            label: label.map_or(0, |label| self.number_of(label)),
            written_as_ids,
            file: file_number,
            line: line_number,
        };
        self.progress.rows += 1;
        self.writer.push(&source, &target, entry)
    }

    fn bad(&mut self, file: usize, line: usize, problem: &str) -> Result<()> {
        skip(&self.build.files[file], line, problem, self.build.how.bad_rows, self.report)?;
        self.notes.skip(Bad { file: file as u32, line: line as u32, problem: problem.to_owned() });
        Ok(())
    }

    fn number_of(&mut self, label: String) -> u32 {
        let next = self.notes.labels.len() as u32;
        *self.labels.entry(label).or_insert_with_key(|label| {
            self.notes.labels.push(label.clone());
            next
        })
    }
}

fn next_chunk(lines: &mut Lines) -> Result<Vec<Line>> {
    let (mut chunk, start) = (Vec::new(), lines.bytes());
    while chunk.len() < CHUNK_ROWS && lines.bytes() - start < CHUNK_BYTES as u64 {
        let Some(line) = lines.next()? else { break };
        chunk.push(line);
    }
    Ok(chunk)
}

impl Tokenised {
    pub fn of(row: RawRow, how: &Reading<'_>) -> std::result::Result<Self, Problem> {
        let alone =
            |source: Vec<u32>, label, written_as_ids| Self { source, target: Vec::new(), label, written_as_ids };
        match row {
            RawRow::Text(content) => {
                let written_as_ids = content.is_ids();
                let vocab = how.source_vocab.min(how.target_vocab);
                Ok(alone(content.into_ids(how, vocab)?, None, written_as_ids))
            }
            RawRow::Labelled { source, label } => {
                let written_as_ids = source.is_ids();
                Ok(alone(source.into_ids(how, how.source_vocab)?, Some(label), written_as_ids))
            }
            RawRow::Pair { source, target } => {
                let written_as_ids = source.is_ids();
                let source = source.into_ids(how, how.source_vocab)?;
                let target = target.into_ids(how, how.target_vocab)?;
                Ok(Self { source, target, label: None, written_as_ids })
            }
        }
    }
}

impl Content {
    fn is_ids(&self) -> bool {
        matches!(self, Self::Ids(_))
    }

    fn into_ids(self, how: &Reading<'_>, vocab: usize) -> std::result::Result<Vec<u32>, Problem> {
        let ids = match (self, how.tokenizer) {
            (Self::Ids(ids), _) => ids,
            (Self::Text(text), Some(tokenizer)) => tokenizer.encode(&text).map_err(|error| error.to_string())?,
            (Self::Text(_), None) => {
                return Err("it is text, and there is no tokenizer: set model.tokenizer".to_owned());
            }
        };
        if ids.is_empty() {
            return Err("its text has no token".to_owned());
        }
        match ids.iter().find(|&&id| id as usize >= vocab) {
            Some(id) => Err(format!("its token id {id} is outside the vocabulary of {vocab}")),
            None => Ok(ids),
        }
    }
}
