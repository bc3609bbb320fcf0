//! The network that is trained: T5Gemma and T5Gemma 2, decoder-only Gemma 2 and 3, or any of them with a classification
//! head, over candle.
//!
//! Called by the training run, by `eval` and by tests. The serving path is another definition of the same models, over
//! `kernels`; a test holds the two equal. Knows no file format, optimiser or text.

mod dropout;
mod generate;
mod gradients;
mod initial;
mod loss;
mod parts;
mod pass;
mod rows;
mod weights;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor, TensorId, Var};

use super::Result;
use crate::checkpoint::{CheckpointConfig, ClassHeadNames, NetworkCheckpoint};
use crate::config::{Architecture, ConfigDocument, DenoisingTokens, NetworkConfig, SpecialTokens};
use parts::Parts;
use weights::{Head, Stack};

pub use dropout::DropoutOptions;
pub use gradients::Gradients;
pub use loss::{BatchLoss, LossOptions, LossSums, TeacherOptions};

/// Options of a network's computation.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Device that computes.
    pub device: Device,
    /// Number type of activations and products; the master weights are float32.
    pub compute: DType,
    /// Whether the encoder's mask is causal. A checkpoint that was trained so is always opened so.
    pub encoder_causal: bool,
    /// Whether each layer is recomputed in the backward pass instead of keeping its activations.
    pub activation_checkpointing: bool,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, compute: DType::F32, encoder_causal: false, activation_checkpointing: false }
    }
}

/// A model whose weights can be trained.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    config: NetworkConfig,
    document: ConfigDocument,
    tokens: SpecialTokens,
    options: NetworkOptions,
    parameters: BTreeMap<String, Var>,
    frozen: HashSet<TensorId>,
    /// Whether the checkpoint has a tower for images, which is no part of the network.
    lacks_tower: bool,
    /// Stack whose states the main one reads.
    encoder: Option<Stack>,
    /// Stack under the head.
    main: Stack,
    head: Head,
}

impl Network {
    /// Opens a checkpoint of any [`Architecture`], in one file or in shards, stored as float32, bfloat16 or float16.
    ///
    /// # Errors
    /// Names the file and every problem with it.
    pub fn open(folder: &Path, options: &NetworkOptions) -> Result<Self> {
        let checkpoint = NetworkCheckpoint::open(folder)?;
        let mut parameters = BTreeMap::new();
        for (name, shape) in checkpoint.config().tensor_table().iter() {
            let numbers = checkpoint.tensor(name)?.numbers();
            let tensor = Tensor::from_vec(numbers, shape, &options.device)?;
            parameters.insert(name.to_owned(), Var::from_tensor(&tensor)?);
        }
        let lacks_tower = checkpoint.has_vision_tower();
        let (config, mut document) = checkpoint.into_description();
        if config.has_own_output_table() {
            document.untie();
        }
        Ok(Self { lacks_tower, ..Self::assemble(config, document, parameters, options)? })
    }

    /// Random weights of the shape that a `config.json` describes: matrices normal with its `initializer_range`, norms
    /// zero. A tensor's numbers depend on the seed and its name alone.
    ///
    /// # Errors
    /// Every problem with the configuration.
    pub fn random(config_json: &[u8], seed: u64, options: &NetworkOptions) -> Result<Self> {
        let document = ConfigDocument::parse(Path::new("config.json"), config_json, None)?;
        let config = NetworkConfig::read(&document)?;
        let initial = initial::Initial { seed, deviation: document.initializer_range() };
        let mut parameters = BTreeMap::new();
        for (name, shape) in config.tensor_table().iter() {
            parameters.insert(name.to_owned(), initial.parameter(name, shape, &options.device)?);
        }
        Self::assemble(config, document, parameters, options)
    }

    /// This network with a linear head that gives the last token's state one of `labels`; of an encoder-decoder, only
    /// the encoder is kept. A head that has these labels already is kept, any other is replaced by a random one.
    ///
    /// # Errors
    /// When the tensor library refuses.
    pub fn with_classification_head(self, labels: &[String], seed: u64) -> Result<Self> {
        if self.architecture.classifies() && self.config.labels() == labels {
            return Ok(self);
        }
        let Self { architecture, mut document, mut parameters, options, lacks_tower, .. } = self;
        document.make_classifier(architecture, labels);
        let config = NetworkConfig::read(&document)?;
        let initial = initial::Initial { seed, deviation: document.initializer_range() };
        let mut kept = BTreeMap::new();
        for (name, shape) in config.tensor_table().iter() {
            let is_head = [ClassHeadNames::ENCODER, ClassHeadNames::DECODER].iter().any(|head| head.contains(name));
            let parameter = match parameters.remove(name) {
                Some(parameter) if !is_head => parameter,
                _ => initial.parameter(name, shape, &options.device)?,
            };
            kept.insert(name.to_owned(), parameter);
        }
        Ok(Self { lacks_tower, ..Self::assemble(config, document, kept, &options)? })
    }

    fn assemble(
        config: NetworkConfig,
        mut document: ConfigDocument,
        parameters: BTreeMap<String, Var>,
        options: &NetworkOptions,
    ) -> Result<Self> {
        let mut architecture = document.trained_architecture()?;
        document.name_class(architecture);
        architecture.causal_encoder |= options.encoder_causal && architecture.has_encoder();
        let Parts { mut encoder, mut main, head } = Parts::find(&config, &parameters);
        if architecture.causal_encoder {
            document.mark_causal_encoder();
            encoder.as_mut().unwrap_or(&mut main).causal = true;
        }
        let (tokens, options, frozen) = (config.special_tokens(), options.clone(), HashSet::new());
        let lacks_tower = false;
        Ok(Self {
            architecture,
            config,
            document,
            tokens,
            options,
            parameters,
            frozen,
            lacks_tower,
            encoder,
            main,
            head,
        })
    }

    /// The architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The configuration that is saved beside the weights: that of the source, with what has changed since. Its number
    /// type is that of the source; code that saves another type writes that.
    pub fn document(&self) -> &ConfigDocument {
        &self.document
    }

    /// Says in the configuration with which tokens the model is denoised.
    pub(crate) fn mark_denoising(&mut self, tokens: &DenoisingTokens) {
        self.document.mark_denoising(tokens);
    }

    /// The longest source that the network was made for, in tokens.
    pub fn source_positions(&self) -> usize {
        self.config.source_stack().max_positions
    }

    /// The longest target that the network was made for, in tokens.
    pub fn target_positions(&self) -> usize {
        self.config.head_stack().max_positions
    }

    /// Whether the checkpoint that was opened has a tower for images, which the network lacks.
    pub fn lacks_tower(&self) -> bool {
        self.lacks_tower
    }

    /// The float32 weights under their published names.
    pub fn parameters(&self) -> &BTreeMap<String, Var> {
        &self.parameters
    }

    /// Special tokens.
    pub fn tokens(&self) -> SpecialTokens {
        self.tokens.clone()
    }

    /// Options of the network's computation.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// Size of the vocabulary: token ids are `0 .. vocab`.
    pub fn vocab(&self) -> usize {
        self.main.config.vocab
    }

    /// The classes of a classifier in their order; empty for other networks.
    pub fn labels(&self) -> Vec<String> {
        self.config.labels().to_vec()
    }

    /// Restricts [`Network::gradients`] to the named parameters from now on; it computes no others.
    pub fn train_only(&mut self, is_trained: impl Fn(&str) -> bool) {
        let frozen = self.parameters.iter().filter(|(name, _)| !is_trained(name));
        self.frozen = frozen.map(|(_, parameter)| parameter.id()).collect();
    }

    /// The output table `[vocab, hidden]` (of a classifier `[classes, hidden]`), without a graph, and the softcap of
    /// its logits.
    pub fn output(&self) -> (Tensor, Option<f32>) {
        match &self.head {
            Head::Vocabulary { table } => (table.as_detached_tensor(), self.main.config.final_softcap),
            Head::Classes { weight, .. } => (weight.as_detached_tensor(), None),
        }
    }
}
