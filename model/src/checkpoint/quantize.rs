//! Writes a quantised checkpoint, tensor by tensor, so that never more than about one is in memory.
//!
//! Called by the server's `quantize`. The format is read in `place`; `docs/quantization.md` describes it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kernels::{DType, Scheme, WeightPart};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use serde_json::Value;

use super::Checkpoint;
use super::folder::{CONFIG, GENERATION_CONFIG, TENSORS, TOKENIZER};
use super::place::{Piece, quantized_pieces};
use super::table::TensorTable;
use crate::config::quantization;
use crate::error::{Error, Result};

/// Files beside the tensors that a checkpoint may have and its copy needs as well.
const COPIED: [&str; 8] = [
    GENERATION_CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
/// The header's length is written in so many bytes, and is a multiple of it.
const LENGTH_BYTES: usize = 8;

/// Writes `source` to the folder `out`, quantised; `progress` is told the bytes of each of the source's tensors as it is
/// done. `config.json` comes last: without it, a folder is no checkpoint.
///
/// # Errors
/// When `source` is quantised already, `out` is not empty, or a file cannot be written; what was written is then
/// removed.
pub fn quantize(source: &Checkpoint, scheme: Scheme, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
    if let Some(scheme) = source.scheme() {
        return Err(Error::AlreadyQuantized { origin: source.origin().to_owned(), scheme });
    }
    let mut folder = OutFolder::create(out)?;
    let written = write_all(source, scheme, &mut folder, progress);
    if written.is_err() {
        folder.remove_written();
    }
    written
}

fn write_all(source: &Checkpoint, scheme: Scheme, folder: &mut OutFolder, progress: &mut dyn FnMut(u64)) -> Result<()> {
    for name in COPIED {
        if let Some(contents) = source.other_file(name)? {
            folder.write(name, |file| file.write_all(&contents))?;
        }
    }
    let layout = Layout::new(source, scheme);
    folder.write(TENSORS, |file| layout.write(source, file, progress))?;
    let config = config(source, scheme)?;
    folder.write(CONFIG, |file| file.write_all(config.as_bytes()))
}

/// The source's `config.json` with a word on the scheme.
fn config(source: &Checkpoint, scheme: Scheme) -> Result<String> {
    let path = source.origin().join(CONFIG);
    let text = source.other_file(CONFIG)?.unwrap_or_default();
    let json = |source| Error::Json { path: path.clone(), source };
    let mut config: Value = serde_json::from_slice(&text).map_err(json)?;
    config[quantization::FIELD] = quantization::written(scheme);
    serde_json::to_string_pretty(&config).map_err(json)
}

/// A folder that files are written to.
struct OutFolder {
    path: PathBuf,
    written: Vec<PathBuf>,
}

impl OutFolder {
    /// Makes the folder if there is none; refuses one that has anything in it.
    fn create(path: &Path) -> Result<Self> {
        let failed = |action| {
            let path = path.to_owned();
            move |source| Error::File { action, path, source }
        };
        fs::create_dir_all(path).map_err(failed("create"))?;
        if fs::read_dir(path).map_err(failed("read"))?.next().is_some() {
            return Err(Error::NotEmpty { folder: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), written: Vec::new() })
    }

    /// Writes a file under another name and gives it its own once the disk has it.
    fn write(&mut self, name: &str, contents: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
        let (path, partial) = (self.path.join(name), self.path.join(format!("{name}.partial")));
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| Error::File { action: "write", path, source }
        };
        let mut file = File::create_new(&partial).map_err(failed(&partial))?;
        self.written.push(partial.clone());
        contents(&mut file).and_then(|()| file.sync_all()).map_err(failed(&partial))?;
        fs::rename(&partial, &path).map_err(failed(&path))?;
        self.written.pop();
        self.written.push(path);
        // The new name, too, has to outlive a power cut before a later file says that this one is there.
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed(&self.path))
    }

    /// So that the same command may be given again.
    fn remove_written(&self) {
        for path in &self.written {
            // The first error is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// One tensor of the file.
struct Placed {
    piece: Piece,
    /// First byte, counted from the header's end.
    start: usize,
}

/// What becomes of one tensor of the source.
struct Job {
    name: String,
    scheme: Option<Scheme>,
    /// Numbers of its one or two pieces in [`Layout::pieces`].
    pieces: Vec<usize>,
}

/// Which tensor goes where.
struct Layout {
    pieces: Vec<Placed>,
    jobs: Vec<Job>,
}

impl Layout {
    /// Wide numbers first, so that every tensor lies at a multiple of its number's width, as the format's own writers
    /// have it.
    fn new(source: &Checkpoint, quantize: Scheme) -> Self {
        let (mut pieces, mut jobs) = (Vec::new(), Vec::new());
        for entry in TensorTable::new(source.config()).entries() {
            let scheme = entry.role.scheme(quantize);
            let own = match scheme {
                Some(scheme) => quantized_pieces(&entry.name, &entry.shape, scheme).to_vec(),
                None => {
                    let dtype = stored(&source.tensor(&entry.name)).0;
                    vec![Piece { name: entry.name.clone(), dtype, shape: entry.shape.clone() }]
                }
            };
            jobs.push(Job {
                name: entry.name.clone(),
                scheme,
                pieces: (pieces.len()..pieces.len() + own.len()).collect(),
            });
            pieces.extend(own.into_iter().map(|piece| Placed { piece, start: 0 }));
        }
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(pieces[index].piece.dtype.bitsize()));
        let mut end = 0;
        for index in order {
            pieces[index].start = end;
            end += pieces[index].piece.bytes();
        }
        Self { pieces, jobs }
    }

    fn header(&self) -> std::result::Result<Vec<u8>, SafeTensorError> {
        let mut placed: Vec<&Placed> = self.pieces.iter().collect();
        placed.sort_by_key(|placed| (placed.start, placed.piece.bytes()));
        let info = |Placed { piece, start }: &Placed| {
            let data_offsets = (*start, start + piece.bytes());
            (piece.name.clone(), TensorInfo { dtype: piece.dtype, shape: piece.shape.clone(), data_offsets })
        };
        // Published checkpoints carry this mark.
        let mark = [("format".to_owned(), "pt".to_owned())].into();
        let metadata = Metadata::new(Some(mark), placed.into_iter().map(info).collect())?;
        let mut header = serde_json::to_vec(&metadata)?;
        header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
        Ok([&(header.len() as u64).to_le_bytes()[..], &header].concat())
    }

    fn write(&self, source: &Checkpoint, file: &mut File, progress: &mut dyn FnMut(u64)) -> std::io::Result<()> {
        let header = self.header().map_err(std::io::Error::other)?;
        file.write_all(&header)?;
        for Job { name, scheme, pieces } in &self.jobs {
            let part = source.tensor(name);
            let mut put = |index: usize, bytes: &[u8]| {
                file.seek(SeekFrom::Start((header.len() + self.pieces[index].start) as u64))?;
                file.write_all(bytes)
            };
            match scheme {
                None => put(pieces[0], stored(&part).1)?,
                Some(scheme) => {
                    let (integers, scales) = quantized(&part, *scheme);
                    put(pieces[0], &integers)?;
                    put(pieces[1], &scales)?;
                }
            }
            source.release(name);
            progress(part.nominal_bytes() as u64);
        }
        Ok(())
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Number type and bytes of a tensor of a source that is not quantised.
fn stored<'a>(part: &WeightPart<'a>) -> (Dtype, &'a [u8]) {
    let &WeightPart::Stored { dtype, bytes, .. } = part else {
        unreachable!("the source was seen not to be quantised");
    };
    let dtype = match dtype {
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
    };
    (dtype, bytes)
}

/// Integers and scales of all rows, which the threads of this machine share.
fn quantized(part: &WeightPart<'_>, scheme: Scheme) -> (Vec<u8>, Vec<u8>) {
    let (rows, cols) = part.shape();
    let (integer_bytes, scale_bytes) = (scheme.integer_bytes(cols), scheme.scale_bytes(cols));
    let (mut integers, mut scales) = (vec![0; rows * integer_bytes], vec![0; rows * scale_bytes]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rows.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let shares = integers.chunks_mut(share * integer_bytes).zip(scales.chunks_mut(share * scale_bytes));
        for (number, (integers, scales)) in shares.enumerate() {
            scope.spawn(move || {
                let mut values = vec![0.0; cols];
                let rows = integers.chunks_mut(integer_bytes).zip(scales.chunks_mut(scale_bytes));
                for (row, out) in (number * share..).zip(rows) {
                    part.quantized_row(row, scheme, &mut values, out);
                }
            });
        }
    });
    (integers, scales)
}
