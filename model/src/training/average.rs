//! The mean of several checkpoints' weights, tensor by tensor.
//!
//! Called by `run` when a run ends.

use std::path::PathBuf;

use super::error::{Error, Result};
use super::published::WEIGHTS;
use crate::checkpoint::float_file::FloatFile;

/// Weights of several checkpoints, for their mean.
#[derive(Debug)]
pub struct Average {
    files: Vec<(PathBuf, FloatFile)>,
}

impl Average {
    /// Opens the weights of checkpoints of one run.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    ///
    /// # Panics
    /// When there are none.
    pub fn open(folders: &[PathBuf]) -> Result<Self> {
        assert!(!folders.is_empty(), "there is no mean of nothing");
        let open = |folder: &PathBuf| {
            let path = folder.join(WEIGHTS);
            let file = FloatFile::open(&path)?;
            Ok((path, file))
        };
        Ok(Self { files: folders.iter().map(open).collect::<Result<_>>()? })
    }

    /// The mean of a tensor, summed in float64 in the order of the folders.
    ///
    /// # Errors
    /// When a checkpoint lacks it, or has it in another size.
    pub fn mean(&self, name: &str) -> Result<Vec<f32>> {
        let mut sums: Vec<f64> = Vec::new();
        for (path, file) in &self.files {
            let damaged = |problem: &str| Error::Damaged { path: path.clone(), problem: format!("{name} {problem}") };
            let (_, numbers) = file.read(name)?.ok_or_else(|| damaged("is missing"))?;
            if sums.is_empty() {
                sums = vec![0.0; numbers.len()];
            }
            if sums.len() != numbers.len() {
                return Err(damaged("is of another size than in the checkpoints before"));
            }
            sums.iter_mut().zip(&numbers).for_each(|(sum, &number)| *sum += f64::from(number));
        }
        let count = self.files.len() as f64;
        Ok(sums.into_iter().map(|sum| (sum / count) as f32).collect())
    }
}
