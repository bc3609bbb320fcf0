//! Numbers in the blocks of ggml, read as float32.
//!
//! Made by `file`, read with the other tensors of a checkpoint. candle turns blocks into numbers.

use std::ops::Range;

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;

use crate::checkpoint::bytes::{Bytes, OwnedBytes};
use crate::checkpoint::open_file::OpenFile;
use crate::error::{Error, Result};

/// Numbers that are turned at a time: whole blocks of every type.
const STRETCH: usize = 1 << 20;
/// The types that can be read, for messages.
pub(super) const USABLE: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K";

/// The numbers of a tensor in a GGUF file.
#[derive(Debug)]
pub(in crate::checkpoint) struct Blocks {
    pub(super) format: GgmlDType,
    /// First byte in the file.
    pub(super) start: usize,
    /// Count of numbers.
    pub(super) count: usize,
    /// Whether 1 was added to every number, as the format does with Gemma's norms.
    pub(super) one_added: bool,
}

/// The type of this number in the format; `None` for one that is not read here.
pub(super) fn format(type_number: u32) -> Option<GgmlDType> {
    Some(match type_number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

impl Blocks {
    /// Bytes in the file; `None` when the tensor does not end with a block, or no memory could hold it.
    pub(super) fn bytes_of(format: GgmlDType, count: usize) -> Option<usize> {
        let is_whole = count.is_multiple_of(format.block_size());
        (count / format.block_size()).checked_mul(format.type_size()).filter(|_| is_whole)
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> usize {
        self.count / self.format.block_size() * self.format.type_size()
    }

    /// Reads all numbers as float32. Beside them, only a stretch is in memory.
    ///
    /// # Errors
    /// When the file cannot be read or was changed, or a number is not finite; `name` is the tensor's.
    pub fn read(&self, name: &str, file: &OpenFile) -> Result<Bytes> {
        let mut numbers = OwnedBytes::zeroed(self.count * size_of::<f32>())?;
        let mut start = 0;
        for stretch in numbers.chunks_mut(STRETCH * size_of::<f32>()) {
            let end = start + stretch.len() / size_of::<f32>();
            stretch.copy_from_slice(&self.read_part(name, file, start..end)?);
            start = end;
        }
        Ok(Bytes::Owned(numbers))
    }

    /// Reads some of the numbers as float32.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_part(&self, name: &str, file: &OpenFile, numbers: Range<usize>) -> Result<Vec<u8>> {
        let (block_size, type_size) = (self.format.block_size(), self.format.type_size());
        let whole = numbers.start / block_size..numbers.end.div_ceil(block_size);
        let mut blocks = vec![0; whole.len() * type_size];
        file.read_into(self.start + whole.start * type_size, &mut blocks)?;
        file.check_unchanged()?;
        let read = numbers_of(self.format, &blocks, whole.len() * block_size);
        let first = numbers.start - whole.start * block_size;
        let read = &read[first..first + numbers.len()];
        if !read.iter().all(|number| number.is_finite()) {
            return Err(Error::NotFinite { path: file.path().to_owned(), tensor: name.to_owned() });
        }
        let offset = if self.one_added { 1.0 } else { 0.0 };
        Ok(read.iter().flat_map(|number| (number - offset).to_le_bytes()).collect())
    }
}

/// The `count` numbers in whole blocks.
pub(super) fn numbers_of(format: GgmlDType, blocks: &[u8], count: usize) -> Vec<f32> {
    qtensor_from_ggml(format, blocks, vec![count], &Device::Cpu)
        .and_then(|blocks| blocks.dequantize(&Device::Cpu)?.to_vec1())
        .expect("whole blocks of a known type are numbers")
}
