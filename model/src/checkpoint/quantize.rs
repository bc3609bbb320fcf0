//! Writes a quantised checkpoint, one tensor in memory at a time.
//!
//! Called by the server's `quantize`. `quantized_tensor` has the format, which `docs/quantization.md` describes.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use kernels::{QuantizedRowMut, Scheme, WeightPart};
use rayon::prelude::*;

use super::folder::{CONFIG, TENSORS};
use super::layout::{TensorEntry, TensorLayout, TensorWriter, stored_as};
use super::open_checkpoint::Checkpoint;
use super::quantized_tensor::quantized_entries;
use super::table::{TableEntry, TensorTable};
use super::writer::{COPIED, OutFolder};
use crate::error::{Error, Result};

/// Writes `source` to the folder `out`, quantised. `progress` is told the bytes of each of the source's tensors when it
/// is done. `config.json` is written last: without it, a folder is no checkpoint.
///
/// # Errors
/// When `source` is quantised already, `out` is not empty, or a file cannot be written; what was written is then
/// removed.
pub fn quantize(source: &Checkpoint, scheme: Scheme, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
    if let Some(scheme) = source.scheme() {
        return Err(Error::AlreadyQuantized { origin: source.origin().to_owned(), scheme });
    }
    let mut folder = OutFolder::create(out)?;
    write_all(source, scheme, &mut folder, progress)?;
    folder.finish();
    Ok(())
}

fn write_all(source: &Checkpoint, scheme: Scheme, folder: &mut OutFolder, progress: &mut dyn FnMut(u64)) -> Result<()> {
    for name in COPIED {
        if let Some(contents) = source.other_file(name)? {
            folder.write(name, |file| file.write_all(&contents))?;
        }
    }
    let (layout, jobs) = plan(source, scheme);
    folder.write(TENSORS, |file| layout.write(file, |tensors| write_tensors(source, &jobs, tensors, progress)))?;
    let config = source.document().quantized_text(scheme, source.config());
    folder.write(CONFIG, |file| file.write_all(config.as_bytes()))
}

/// One tensor of the source and the tensors that it becomes.
struct Job {
    name: String,
    scheme: Option<Scheme>,
    /// Numbers of its one or two tensors in the layout.
    entries: Range<usize>,
}

/// The layout of the file, and a job for each tensor of the source.
fn plan(source: &Checkpoint, quantize: Scheme) -> (TensorLayout, Vec<Job>) {
    let (mut entries, mut jobs) = (Vec::new(), Vec::new());
    for TableEntry { name, shape, role } in TensorTable::new(source.config()).entries() {
        let scheme = role.scheme(quantize);
        let first = entries.len();
        match scheme {
            Some(scheme) => entries.extend(quantized_entries(name, shape, scheme)),
            None => {
                let dtype = source.dtype(name).expect("the source was seen not to be quantised");
                entries.push(TensorEntry { name: name.clone(), dtype: stored_as(dtype), shape: shape.clone() });
            }
        }
        jobs.push(Job { name: name.clone(), scheme, entries: first..entries.len() });
    }
    (TensorLayout::new(entries), jobs)
}

fn write_tensors(
    source: &Checkpoint,
    jobs: &[Job],
    tensors: &mut TensorWriter<'_>,
    progress: &mut dyn FnMut(u64),
) -> std::io::Result<()> {
    for Job { name, scheme, entries } in jobs {
        let tensor = source.tensor(name).map_err(std::io::Error::other)?;
        let part = tensor.part();
        match scheme {
            None => tensors.put(entries.start, stored(&part))?,
            Some(scheme) => {
                let (integers, scales) = quantized(&part, *scheme);
                tensors.put(entries.start, &integers)?;
                tensors.put(entries.start + 1, &scales)?;
            }
        }
        progress(part.nominal_bytes() as u64);
    }
    Ok(())
}

/// The bytes of a tensor whose source is not quantised.
fn stored<'a>(part: &WeightPart<'a>) -> &'a [u8] {
    let &WeightPart::Stored { bytes, .. } = part else {
        unreachable!("the source was seen not to be quantised");
    };
    bytes
}

/// Integers and scales of all rows, computed on all threads.
fn quantized(part: &WeightPart<'_>, scheme: Scheme) -> (Vec<u8>, Vec<u8>) {
    let (rows, cols) = part.shape();
    let (integer_bytes, scale_bytes) = (scheme.integer_bytes(cols), scheme.scale_bytes(cols));
    let (mut integers, mut scales) = (vec![0; rows * integer_bytes], vec![0; rows * scale_bytes]);
    let share = rows.div_ceil(rayon::current_num_threads()).max(1);
    let shares = integers.par_chunks_mut(share * integer_bytes).zip(scales.par_chunks_mut(share * scale_bytes));
    shares.enumerate().for_each(|(number, (integers, scales))| {
        let mut values = vec![0.0; cols];
        let rows = integers.chunks_mut(integer_bytes).zip(scales.chunks_mut(scale_bytes));
        for (row, (integers, scales)) in (number * share..).zip(rows) {
            part.quantized_row(row, scheme, &mut values, QuantizedRowMut { integers, scales });
        }
    });
    (integers, scales)
}
