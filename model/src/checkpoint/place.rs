//! Where each tensor's numbers lie, and whether they are what the table calls for.
//!
//! Called by `checkpoint` when one is opened. A quantised tensor is two: `X.weight` becomes `X.weight_q8` or
//! `X.weight_q4` with `X.weight_scale`; `docs/quantization.md` describes the format.

use std::collections::HashMap;
use std::ops::Range;

use kernels::quantize::GROUP;
use kernels::{DType, Scheme};
use safetensors::Dtype;

use super::bytes::Bytes;
use super::layout::TensorEntry;
use super::open_file::OpenFile;
use super::shards::{Shards, float_type};
use super::table::{TableEntry, TensorTable};
use super::tensor_data::{Finite, Numbers, TensorData};
use crate::error::{Error, Result, TensorProblem};

/// Where a tensor's numbers lie.
#[derive(Debug)]
pub(super) struct Place {
    rows: usize,
    cols: usize,
    stored: Stored,
}

#[derive(Debug)]
enum Stored {
    Floats { dtype: DType, stretch: Stretch },
    Quantized { scheme: Scheme, integers: Stretch, scales: Stretch },
}

/// Bytes of a file.
#[derive(Debug)]
struct Stretch {
    file: usize,
    dtype: Dtype,
    range: Range<usize>,
}

impl Place {
    /// Reads the numbers of the tensor, which is called `name`.
    pub fn read(&self, name: &str, files: &[OpenFile]) -> Result<TensorData> {
        let numbers = match &self.stored {
            Stored::Floats { dtype, stretch } => Numbers::Stored { dtype: *dtype, bytes: stretch.read(name, files)? },
            Stored::Quantized { scheme, integers, scales } => {
                let (integers, scales) = (integers.read(name, files)?, scales.read(name, files)?);
                Numbers::Quantized { scheme: *scheme, integers, scales }
            }
        };
        Ok(TensorData::new((self.rows, self.cols), numbers))
    }

    /// Number type of a tensor that is not quantised.
    pub fn dtype(&self) -> Option<DType> {
        match self.stored {
            Stored::Floats { dtype, .. } => Some(dtype),
            Stored::Quantized { .. } => None,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.stretches().map(|stretch| stretch.range.len() as u64).sum()
    }

    fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        let (first, second) = match &self.stored {
            Stored::Floats { stretch, .. } => (stretch, None),
            Stored::Quantized { integers, scales, .. } => (integers, Some(scales)),
        };
        [first].into_iter().chain(second)
    }
}

impl Stretch {
    fn read(&self, name: &str, files: &[OpenFile]) -> Result<Bytes> {
        let (file, finite) = (&files[self.file], Finite::new(self.dtype));
        let bytes = file.read_looking(self.range.clone(), |block| finite.look(block))?;
        if finite.holds() {
            return Ok(bytes);
        }
        Err(Error::NotFinite { path: file.path().to_owned(), tensor: name.to_owned() })
    }
}

/// What a weight that is quantised to `scheme` is stored as: its integers, and their scales.
pub(super) fn quantized_entries(name: &str, shape: &[usize], scheme: Scheme) -> [TensorEntry; 2] {
    let [rows, cols] = shape else { unreachable!("only matrices are quantised, {name} is none") };
    let (suffix, integers, scales) = match scheme {
        Scheme::Int8 => ("q8", (Dtype::I8, vec![*rows, *cols]), (Dtype::F32, vec![*rows])),
        Scheme::Int4 => {
            ("q4", (Dtype::U8, vec![*rows, cols.div_ceil(2)]), (Dtype::BF16, vec![*rows, cols.div_ceil(GROUP)]))
        }
    };
    let piece = |suffix, (dtype, shape)| TensorEntry { name: format!("{name}_{suffix}"), dtype, shape };
    [piece(suffix, integers), piece("scale", scales)]
}

/// Finds every tensor of the table, or lists all that are missing or of another shape or number type. `quantize` is
/// what the checkpoint says that it is quantised to.
pub(super) fn check(table: &TensorTable, quantize: Option<Scheme>, shards: &Shards) -> Result<HashMap<String, Place>> {
    let mut places = HashMap::new();
    let mut problems = Vec::new();
    for entry in table.entries() {
        let found = match quantize.and_then(|quantize| entry.role.scheme(quantize)) {
            None => find_stored(entry, shards).map_err(|problem| vec![problem]),
            Some(scheme) => find_quantized(entry, scheme, shards),
        };
        match found {
            Ok(place) => {
                places.insert(entry.name.clone(), place);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(places) } else { Err(Error::Tensors { origin: shards.origin.clone(), problems }) }
}

fn find_stored(entry: &TableEntry, shards: &Shards) -> std::result::Result<Place, TensorProblem> {
    let stretch = find(&entry.name, &entry.shape, shards)?;
    let Some(dtype) = float_type(stretch.dtype) else {
        let (found, usable) = (stretch.dtype.to_string(), "BF16, F16 and F32");
        return Err(TensorProblem::DType { name: entry.name.clone(), found, usable });
    };
    let (rows, cols) = rows_and_cols(&entry.shape);
    Ok(Place { rows, cols, stored: Stored::Floats { dtype, stretch } })
}

fn find_quantized(
    entry: &TableEntry,
    scheme: Scheme,
    shards: &Shards,
) -> std::result::Result<Place, Vec<TensorProblem>> {
    let found = quantized_entries(&entry.name, &entry.shape, scheme).map(|piece| {
        let stretch = find(&piece.name, &piece.shape, shards)?;
        if stretch.dtype == piece.dtype {
            return Ok(stretch);
        }
        let usable = match piece.dtype {
            Dtype::I8 => "I8",
            Dtype::U8 => "U8",
            Dtype::BF16 => "BF16",
            _ => "F32",
        };
        Err(TensorProblem::DType { name: piece.name, found: stretch.dtype.to_string(), usable })
    });
    let (rows, cols) = rows_and_cols(&entry.shape);
    match found {
        [Ok(integers), Ok(scales)] => Ok(Place { rows, cols, stored: Stored::Quantized { scheme, integers, scales } }),
        found => Err(found.into_iter().filter_map(std::result::Result::err).collect()),
    }
}

/// A norm is one row.
fn rows_and_cols(shape: &[usize]) -> (usize, usize) {
    match *shape {
        [rows, cols] => (rows, cols),
        _ => (1, shape.iter().product()),
    }
}

/// A tensor of this name and shape, whatever its numbers.
fn find(name: &str, shape: &[usize], shards: &Shards) -> std::result::Result<Stretch, TensorProblem> {
    let missing = || TensorProblem::Missing { name: name.to_owned(), shard: shards.promise(name) };
    let (file, stored) = shards.find(name).ok_or_else(missing)?;
    let tensor = stored.info;
    if tensor.shape != shape {
        let (expected, found) = (shape.to_vec(), tensor.shape.clone());
        return Err(TensorProblem::Shape { name: name.to_owned(), expected, found });
    }
    Ok(Stretch { file, dtype: tensor.dtype, range: stored.range })
}
