//! The checkpoints of a run: its weights, moments and progress, from which it is resumed as if it had never stopped.
//!
//! Written and read by `run`. Each is a folder that is complete or absent, and a model in the published layout.

mod checksums;
mod fingerprint;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};

use super::error::{Error, Result};
use super::optimizer::Moments;
use super::published::{Published, write_tensors};
use super::settings::SavedPrecision;
use super::whole_folder;
use crate::checkpoint::float_file::FloatFile;
use crate::input;

pub use checksums::verify;
pub use fingerprint::{differences, fingerprint};
use progress::Format;
pub use progress::{Best, FORMAT, Progress};

const FOLDER: &str = "checkpoints";
const PREFIX: &str = "step-";
const PROGRESS: &str = "state.json";
const MOMENTS: &str = "optimizer.safetensors";
const FIRST: &str = "first.";
const SECOND: &str = "second.";

/// The folder of a run's checkpoints.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// Contents of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Progress of the run.
    pub progress: &'a Progress,
    /// The model's files; its weights are written in float32.
    pub model: Published<'a>,
    /// The weights.
    pub weights: &'a BTreeMap<String, Var>,
    /// The optimiser's moments.
    pub moments: &'a BTreeMap<String, Moments>,
}

impl Checkpoints {
    /// Opens a run's folder, creating it if absent, and removes leftovers of a killed write.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(run: &Path) -> Result<Self> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
        whole_folder::remove_leftovers(&folder)?;
        Ok(Self { folder })
    }

    /// Steps after which there is a checkpoint, ascending.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|source| failed("read", &self.folder, source))? {
            let path = entry.map_err(|source| failed("read", &self.folder, source))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let step = name.strip_prefix(PREFIX).and_then(|digits| digits.parse::<u64>().ok());
            steps.extend(step.filter(|_| path.is_dir()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The folder of a checkpoint.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{PREFIX}{step:08}"))
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// When a file cannot be written; earlier checkpoints are unchanged then.
    pub fn save(&self, saved: &Saved<'_>) -> Result<PathBuf> {
        let path = self.path(saved.progress.step);
        whole_folder::write(&path, |folder| {
            let model = Published { precision: SavedPrecision::F32, ..saved.model };
            model.write(folder, &mut |name| numbers(&saved.weights[name]))?;
            let moments: BTreeMap<String, &Tensor> = saved
                .moments
                .iter()
                .flat_map(|(name, own)| [(FIRST, name, &own.first), (SECOND, name, &own.second)])
                .map(|(prefix, name, moment)| (format!("{prefix}{name}"), moment.as_tensor()))
                .collect();
            let tensors: Vec<_> = moments.iter().map(|(name, moment)| (name.clone(), moment.dims().to_vec())).collect();
            write_tensors(folder, MOMENTS, &tensors, SavedPrecision::F32, &mut |name| numbers(moments[name]))?;
            let progress = serde_json::to_vec_pretty(saved.progress).expect("progress is JSON");
            folder.write(PROGRESS, |file| file.write_all(&progress))?;
            checksums::write(folder)
        })?;
        Ok(path)
    }

    /// Progress of the run at a checkpoint, all files of which are verified.
    ///
    /// # Errors
    /// When a file cannot be read or has changed, or another version of the program wrote it.
    pub fn progress(&self, step: u64) -> Result<Progress> {
        let path = self.path(step).join(PROGRESS);
        let text = input::read(&path).map_err(|source| failed("read", &path, source))?;
        let damaged = |error: serde_json::Error| Error::Damaged { path: path.clone(), problem: error.to_string() };
        let Format { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format != FORMAT {
            return Err(Error::OtherFormat { path, found: format, expected: FORMAT });
        }
        verify(&self.path(step))?;
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// The optimiser's moments at a checkpoint.
    ///
    /// # Errors
    /// The errors of [`Checkpoints::progress`].
    pub fn moments(&self, progress: &Progress, device: &Device) -> Result<BTreeMap<String, Moments>> {
        let path = self.path(progress.step).join(MOMENTS);
        let file = FloatFile::open(&path)?;
        let read = |name: String| {
            let problem = || Error::Damaged { path: path.clone(), problem: format!("{name} is missing") };
            let (shape, numbers) = file.read(&name)?.ok_or_else(problem)?;
            Ok::<_, Error>(Var::from_tensor(&Tensor::from_vec(numbers, shape, device)?)?)
        };
        let moments = progress.updates.iter().map(|(name, &updates)| {
            let (first, second) = (read(format!("{FIRST}{name}"))?, read(format!("{SECOND}{name}"))?);
            Ok((name.clone(), Moments { first, second, updates }))
        });
        moments.collect()
    }

    /// Removes all checkpoints but these.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn keep_only(&self, kept: &BTreeSet<u64>) -> Result<()> {
        let removed = self.steps()?.into_iter().filter(|step| !kept.contains(step));
        removed.map(|step| self.path(step)).try_for_each(|path| whole_folder::remove_whole(&path))
    }
}

/// The numbers of a tensor on any device.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
