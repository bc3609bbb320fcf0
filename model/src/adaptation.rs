//! Adapts two decoder-only checkpoints to an encoder-decoder (Zhang et al. 2025, arXiv 2504.06225, section 3.2).
//!
//! Called by the server's `adapt`. Checks everything before it writes anything, and holds a part of one tensor at a
//! time.

mod origin;
mod pair;
mod room;

use std::io::Write;
use std::path::PathBuf;

use kernels::{DType, WeightPart};

use crate::checkpoint::folder::{CONFIG, GENERATION_CONFIG, TENSORS};
use crate::checkpoint::layout::{TensorEntry, TensorLayout, TensorWriter, stored_as};
use crate::checkpoint::writer::{COPIED, OutFolder};
use crate::checkpoint::{DecoderCheckpoint, StackNames, TensorTable};
use crate::config::{AdaptedConfig, AdaptedSource, ModelConfig};
use crate::error::{Error, Result};
use crate::normal::{fill_normal, tensor_key};
use origin::{CrossAttentionStart, Origin, Origins, SourceTensor};
use pair::Pair;

/// The sources and the folder to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptRequest {
    /// Folder or GGUF file of the decoder-only checkpoint that becomes the encoder.
    pub encoder: PathBuf,
    /// Folder or GGUF file of the decoder-only checkpoint that becomes the decoder, with its tokenizer; may be the
    /// same.
    pub decoder: PathBuf,
    /// The `tokenizer.json` of sources that are GGUF files.
    pub tokenizer: Option<PathBuf>,
    /// Folder to write to; empty or not there yet.
    pub out: PathBuf,
    /// Seed of the tensors that are drawn at random.
    pub seed: u64,
}

/// An adaptation whose sources and place to write to have been checked.
#[derive(Debug)]
pub struct Adaptation {
    request: AdaptRequest,
    pair: Pair,
    config: ModelConfig,
    tensors: Vec<Adapted>,
    layout: TensorLayout,
}

/// One tensor of the encoder-decoder.
#[derive(Debug)]
struct Adapted {
    name: String,
    /// A norm has one dimension.
    shape: Vec<usize>,
    dtype: DType,
    origin: Origin,
}

/// The encoder-decoder that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The count of numbers in all weights.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Number of tensors that come from a source.
    pub copied: usize,
    /// Number of tensors of cross-attention that were drawn at random; its norms are zero.
    pub random: usize,
    /// Whether the decoder attends to source and target with the same weights, those of self-attention.
    pub is_merged: bool,
    /// Whether the decoder's source has a tokenizer, which was copied.
    pub has_tokenizer: bool,
}

impl Adaptation {
    /// Opens both sources and checks that they fit each other and the place to write to.
    ///
    /// # Errors
    /// [`Error::Adaptation`] with every reason against it.
    pub fn prepare(request: AdaptRequest) -> Result<Self> {
        let refuse = |problems| Error::Adaptation { problems };
        let mut problems = room::problems(&request.out);
        let pair = match Pair::open(&request) {
            Ok(pair) => pair,
            Err(found) => return Err(refuse([found, problems].concat())),
        };
        let config = pair.config();
        let origins = Origins::new(&config, pair.cross_attention());
        let adapted = |(name, shape): (&str, &[usize])| {
            let origin = origins.of(name).clone();
            let dtype = pair.dtype(&origin);
            Adapted { name: name.to_owned(), shape: shape.to_vec(), dtype, origin }
        };
        let mut tensors: Vec<Adapted> = TensorTable::new(&config).iter().map(adapted).collect();
        if config.shares_embedding() && config.encoder.own_row_token.is_none() {
            // transformers has the vector whether or not the vocabulary has its token.
            tensors.push(adapted((&StackNames::ENCODER.own_row(), &[config.encoder.hidden])));
        }
        let layout = TensorLayout::new(tensors.iter().map(Adapted::entry).collect());
        problems.extend(room::shortage(&request.out, layout.data_bytes()));
        if problems.is_empty() { Ok(Self { request, pair, config, tensors, layout }) } else { Err(refuse(problems)) }
    }

    /// The total of the bytes that [`Self::write`] reports as progress.
    pub fn bytes(&self) -> u64 {
        self.layout.data_bytes()
    }

    /// Writes the encoder-decoder; `progress` is told the bytes of each tensor as it is done. `config.json` comes last:
    /// without it, a folder is no checkpoint.
    ///
    /// # Errors
    /// When a file cannot be read or written; what was written is then removed.
    pub fn write(&self, progress: &mut dyn FnMut(u64)) -> Result<Summary> {
        let mut folder = OutFolder::create(&self.request.out)?;
        for name in COPIED.into_iter().filter(|name| *name != GENERATION_CONFIG) {
            if let Some(contents) = self.pair.decoder.other_file(name)? {
                folder.write(name, |file| file.write_all(&contents))?;
            }
        }
        let config = self.adapted_config();
        let generation = config.decoder.generation_text();
        folder.write(GENERATION_CONFIG, |file| file.write_all(generation.as_bytes()))?;
        folder.write(TENSORS, |file| self.layout.write(file, |tensors| self.write_tensors(tensors, progress)))?;
        folder.write(CONFIG, |file| file.write_all(config.text().as_bytes()))?;
        folder.finish();
        self.summary()
    }

    fn adapted_config(&self) -> AdaptedConfig<'_> {
        fn source(checkpoint: &DecoderCheckpoint) -> AdaptedSource<'_> {
            AdaptedSource { config: checkpoint.config(), document: checkpoint.document() }
        }
        AdaptedConfig {
            model: &self.config,
            encoder: source(&self.pair.encoder),
            decoder: source(&self.pair.decoder),
            random_cross_attention: self.pair.cross_attention() == CrossAttentionStart::Random,
            dtype: self.stored_dtype(),
        }
    }

    fn write_tensors(&self, tensors: &mut TensorWriter<'_>, progress: &mut dyn FnMut(u64)) -> std::io::Result<()> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            match &tensor.origin {
                Origin::Copied(SourceTensor { side, name }) => {
                    // A table may have fewer rows than its source.
                    let numbers = 0..tensor.shape.iter().product();
                    let source = self.pair.source(*side);
                    tensors.put_stretches(index, |put| source.read_stretches(name, numbers, put))?;
                }
                Origin::Random { .. } => tensors.put(index, &self.random(tensor))?,
                Origin::Embedding { table, token } => {
                    tensors.put(index, &self.embedding(tensor, table, *token as usize)?)?;
                }
                Origin::Zero { .. } => tensors.put(index, &tensor.stored(&vec![0.0; tensor.shape.iter().product()]))?,
            }
            progress(tensor.bytes());
        }
        Ok(())
    }

    /// The bytes of a tensor as transformers initialises it: normal numbers in a matrix, zeros in a norm.
    fn random(&self, tensor: &Adapted) -> Vec<u8> {
        let mut numbers = vec![0.0_f32; tensor.shape.iter().product()];
        if tensor.shape.len() > 1 {
            let deviation = self.pair.decoder.document().source_initializer_range();
            fill_normal(tensor_key(self.request.seed, &tensor.name), deviation, &mut numbers);
        }
        tensor.stored(&numbers)
    }

    /// The bytes of what a token is embedded as: its row of a table times the root of the row's width.
    fn embedding(&self, tensor: &Adapted, table: &SourceTensor, token: usize) -> std::io::Result<Vec<u8>> {
        let width = tensor.shape[0];
        let mut row = Vec::new();
        let numbers = token * width..(token + 1) * width;
        self.pair.source(table.side).read_stretches(&table.name, numbers, &mut |bytes| {
            row.extend_from_slice(bytes);
            Ok(())
        })?;
        let mut numbers = vec![0.0; width];
        WeightPart::Stored { rows: 1, cols: width, dtype: tensor.dtype, bytes: &row }.read_row(0, &mut numbers);
        let scale = (width as f32).sqrt();
        numbers.iter_mut().for_each(|number| *number *= scale);
        Ok(tensor.stored(&numbers))
    }

    /// The number type that holds every tensor's numbers.
    fn stored_dtype(&self) -> DType {
        let first = self.tensors[0].dtype;
        if self.tensors.iter().all(|tensor| tensor.dtype == first) { first } else { DType::F32 }
    }

    fn summary(&self) -> Result<Summary> {
        let random = self.tensors.iter().filter(|tensor| matches!(tensor.origin, Origin::Random { .. })).count();
        Ok(Summary {
            parameters: self.config.parameters(),
            bytes: self.bytes(),
            copied: self.tensors.len() - random,
            random,
            is_merged: self.pair.cross_attention() == CrossAttentionStart::Merged,
            has_tokenizer: self.pair.decoder.tokenizer_json()?.is_some(),
        })
    }
}

impl Adapted {
    fn entry(&self) -> TensorEntry {
        TensorEntry { name: self.name.clone(), dtype: stored_as(self.dtype), shape: self.shape.clone() }
    }

    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.bytes()) as u64
    }

    /// Numbers in the tensor's type.
    fn stored(&self, numbers: &[f32]) -> Vec<u8> {
        let numbers = numbers.iter().copied();
        match self.dtype {
            DType::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            DType::Bf16 => numbers.flat_map(|number| half::bf16::from_f32(number).to_le_bytes()).collect(),
            DType::F16 => numbers.flat_map(|number| half::f16::from_f32(number).to_le_bytes()).collect(),
        }
    }
}
