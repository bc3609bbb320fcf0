//! Finds the tensors of a table in a checkpoint's files, and checks that they are what the configuration calls for.
//!
//! Called when a checkpoint is opened.

use std::collections::HashMap;

use kernels::Scheme;
use safetensors::Dtype;

use super::location::{FileRange, StoredNumbers, TensorLocation};
use super::quantized_tensor::quantized_entries;
use super::shards::{Shards, float_type};
use super::table::{TableEntry, TensorTable};
use crate::error::{Error, Result, TensorProblem};

/// Finds every tensor of the table, or lists all that are missing or of another shape or number type. `quantize` is the
/// scheme that the checkpoint says it is quantised to.
pub(super) fn locate(
    table: &TensorTable,
    quantize: Option<Scheme>,
    shards: &Shards,
) -> Result<HashMap<String, TensorLocation>> {
    let mut locations = HashMap::new();
    let mut problems = Vec::new();
    for entry in table.entries() {
        let found = match quantize.and_then(|quantize| entry.role.scheme(quantize)) {
            None => find_stored(entry, shards).map_err(|problem| vec![problem]),
            Some(scheme) => find_quantized(entry, scheme, shards),
        };
        match found {
            Ok(location) => {
                locations.insert(entry.name.clone(), location);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(locations) } else { Err(Error::Tensors { origin: shards.origin.clone(), problems }) }
}

fn find_stored(entry: &TableEntry, shards: &Shards) -> std::result::Result<TensorLocation, TensorProblem> {
    let numbers = find(&entry.name, &entry.shape, shards)?;
    let Some(dtype) = float_type(numbers.dtype) else {
        let (found, usable) = (numbers.dtype.to_string(), "BF16, F16 and F32");
        return Err(TensorProblem::DType { name: entry.name.clone(), found, usable });
    };
    let (rows, cols) = entry.rows_and_cols();
    Ok(TensorLocation { rows, cols, stored: StoredNumbers::Floats { dtype, numbers } })
}

fn find_quantized(
    entry: &TableEntry,
    scheme: Scheme,
    shards: &Shards,
) -> std::result::Result<TensorLocation, Vec<TensorProblem>> {
    let found = quantized_entries(&entry.name, &entry.shape, scheme).map(|piece| {
        let found = find(&piece.name, &piece.shape, shards)?;
        if found.dtype == piece.dtype {
            return Ok(found);
        }
        let usable = match piece.dtype {
            Dtype::I8 => "I8",
            Dtype::U8 => "U8",
            Dtype::BF16 => "BF16",
            _ => "F32",
        };
        Err(TensorProblem::DType { name: piece.name, found: found.dtype.to_string(), usable })
    });
    let (rows, cols) = entry.rows_and_cols();
    match found {
        [Ok(integers), Ok(scales)] => {
            Ok(TensorLocation { rows, cols, stored: StoredNumbers::Quantized { scheme, integers, scales } })
        }
        found => Err(found.into_iter().filter_map(std::result::Result::err).collect()),
    }
}

/// Finds a tensor of this name and shape, whatever its number type.
fn find(name: &str, shape: &[usize], shards: &Shards) -> std::result::Result<FileRange, TensorProblem> {
    let missing = || TensorProblem::Missing { name: name.to_owned(), shard: shards.promise(name) };
    let found = shards.find(name).ok_or_else(missing)?;
    let tensor = found.stored.info;
    if tensor.shape != shape {
        let (expected, found) = (shape.to_vec(), tensor.shape.clone());
        return Err(TensorProblem::Shape { name: name.to_owned(), expected, found });
    }
    Ok(FileRange { file: found.file, dtype: tensor.dtype, range: found.stored.range })
}
