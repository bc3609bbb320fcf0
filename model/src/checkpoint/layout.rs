//! A safetensors file, laid out from names, number types and shapes, then written tensor by tensor.
//!
//! Called when a checkpoint is written: by quantising, adapting and training. Holds no tensor.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use kernels::DType;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};

/// Bytes that hold the header's length; the length is a multiple of them.
const LENGTH_BYTES: usize = 8;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorEntry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// The position of every tensor in a file.
#[derive(Debug)]
pub(crate) struct TensorLayout {
    entries: Vec<TensorEntry>,
    /// First byte of each, counted from the header's end.
    starts: Vec<usize>,
    data_bytes: usize,
}

/// Writes tensors to their positions.
#[derive(Debug)]
pub(crate) struct TensorWriter<'a> {
    layout: &'a TensorLayout,
    file: &'a mut File,
    header_bytes: usize,
    written: Vec<bool>,
}

impl TensorEntry {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

impl TensorLayout {
    /// Places tensors in the order given, but wide numbers first: then every tensor lies at a multiple of its number's
    /// width, as the writers of the format itself place them.
    pub fn new(entries: Vec<TensorEntry>) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(entries[index].dtype.bitsize()));
        let mut starts = vec![0; entries.len()];
        let mut data_bytes = 0;
        for index in order {
            starts[index] = data_bytes;
            data_bytes += entries[index].bytes();
        }
        Self { entries, starts, data_bytes }
    }

    /// Bytes of all tensors.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes as u64
    }

    /// Writes the header, then the tensors that `tensors` puts.
    ///
    /// # Panics
    /// When `tensors` leaves one out: its bytes in the file would be arbitrary.
    pub fn write(
        &self,
        file: &mut File,
        tensors: impl FnOnce(&mut TensorWriter<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let header = self.header().map_err(io::Error::other)?;
        file.write_all(&header)?;
        let mut writer =
            TensorWriter { layout: self, file, header_bytes: header.len(), written: vec![false; self.entries.len()] };
        tensors(&mut writer)?;
        let left_out = writer.written.iter().position(|written| !written);
        assert!(left_out.is_none(), "{} was not written", self.entries[left_out.unwrap_or_default()].name);
        Ok(())
    }

    fn header(&self) -> Result<Vec<u8>, SafeTensorError> {
        let mut placed: Vec<(&TensorEntry, usize)> = self.entries.iter().zip(self.starts.iter().copied()).collect();
        placed.sort_by_key(|(entry, start)| (*start, entry.bytes()));
        let info = |(entry, start): (&TensorEntry, usize)| {
            let data_offsets = (start, start + entry.bytes());
            (entry.name.clone(), TensorInfo { dtype: entry.dtype, shape: entry.shape.clone(), data_offsets })
        };
        // Published checkpoints have this mark.
        let mark = [("format".to_owned(), "pt".to_owned())].into();
        let metadata = Metadata::new(Some(mark), placed.into_iter().map(info).collect())?;
        let mut header = serde_json::to_vec(&metadata)?;
        header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
        Ok([&(header.len() as u64).to_le_bytes()[..], &header].concat())
    }
}

impl TensorWriter<'_> {
    /// Writes a whole tensor, named by its index in the layout's entries.
    ///
    /// # Panics
    /// When `bytes` is not of the length that its type and shape give.
    pub fn put(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        self.put_stretches(index, |put| put(bytes))
    }

    /// Writes a whole tensor, named by its index in the layout's entries, stretch by stretch.
    ///
    /// # Panics
    /// When the stretches together are not of the length that its type and shape give.
    pub fn put_stretches(
        &mut self,
        index: usize,
        stretches: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let entry = &self.layout.entries[index];
        self.file.seek(SeekFrom::Start((self.header_bytes + self.layout.starts[index]) as u64))?;
        let (file, mut written) = (&mut *self.file, 0);
        stretches(&mut |bytes| {
            written += bytes.len();
            file.write_all(bytes)
        })?;
        assert_eq!(written, entry.bytes(), "the bytes of {} are those of its type and shape", entry.name);
        self.written[index] = true;
        Ok(())
    }
}

/// A number type as the format names it.
pub(crate) const fn stored_as(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use tempfile::NamedTempFile;

    use super::*;

    fn entry(name: &str, dtype: Dtype, shape: &[usize]) -> TensorEntry {
        TensorEntry { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn tensors_written_in_any_order_are_read_back_by_name() {
        let entries = vec![
            entry("bytes", Dtype::U8, &[3]),
            entry("halves", Dtype::BF16, &[2, 1]),
            entry("wide", Dtype::F32, &[2]),
            entry("none", Dtype::F32, &[0, 4]),
        ];
        let layout = TensorLayout::new(entries);
        let mut file = NamedTempFile::new().unwrap();
        let put = |tensors: &mut TensorWriter<'_>| {
            tensors.put(2, &[1, 2, 3, 4, 5, 6, 7, 8])?;
            tensors.put(3, &[])?;
            tensors.put(0, &[9, 10, 11])?;
            tensors.put(1, &[12, 13, 14, 15])
        };
        layout.write(file.as_file_mut(), put).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        let data = |name| read.tensor(name).unwrap().data().to_vec();
        assert_eq!(data("wide"), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((data("bytes"), data("halves")), (vec![9, 10, 11], vec![12, 13, 14, 15]));
        assert_eq!(read.tensor("none").unwrap().shape(), [0, 4]);
        assert_eq!(layout.data_bytes(), 15);
    }

    #[test]
    #[should_panic(expected = "second was not written")]
    fn a_tensor_that_is_left_out_is_noticed() {
        let layout = TensorLayout::new(vec![entry("first", Dtype::U8, &[1]), entry("second", Dtype::U8, &[1])]);
        let mut file = NamedTempFile::new().unwrap();
        let _ = layout.write(file.as_file_mut(), |tensors| tensors.put(0, &[1]));
    }
}
