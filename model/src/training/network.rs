//! The network that is trained: T5Gemma, decoder-only Gemma 2, or either with a classification head, over candle.
//!
//! Called by the training run, by `eval` and by tests. The serving path is another definition of the same models, over
//! `kernels`; a test holds the two equal. Knows no file format, optimiser or text.

mod blueprint;
mod configuration;
mod generate;
mod gradients;
mod initial;
mod loss;
mod pass;
mod rows;
mod weights;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor, TensorId, Var};
use serde_json::Value;

use super::Result;
use crate::checkpoint::CheckpointFiles;
use blueprint::Blueprint;
use weights::{Head, Stack};

pub use gradients::Gradients;
pub use loss::{BatchLoss, DropoutOptions, LossOptions, LossSums, TeacherOptions};

/// What kind of model a network is; one class of transformers each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `T5GemmaForConditionalGeneration`.
    EncoderDecoder,
    /// `Gemma2ForCausalLM`.
    DecoderOnly,
    /// `T5GemmaForSequenceClassification` without its decoder.
    EncoderClassifier,
    /// `Gemma2ForSequenceClassification`.
    DecoderClassifier,
}

/// How a network computes.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Where.
    pub device: Device,
    /// Type of the activations, and of the weights where they are multiplied; the masters are float32.
    pub compute: DType,
    /// Lets the encoder's tokens see earlier ones only. A checkpoint that was trained so is opened so without it.
    pub encoder_causal: bool,
    /// Computes each layer again in the backward pass instead of keeping its activations.
    pub activation_checkpointing: bool,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, compute: DType::F32, encoder_causal: false, activation_checkpointing: false }
    }
}

/// Ids with a meaning of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// First token that a decoder reads.
    pub start: u32,
    /// Token that opens a text.
    pub bos: u32,
    /// Filler of padded batches elsewhere.
    pub pad: u32,
    /// Tokens that end a text; never empty.
    pub end: Vec<u32>,
}

/// A model whose weights can change.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    config: Value,
    tokens: SpecialTokens,
    options: NetworkOptions,
    parameters: BTreeMap<String, Var>,
    frozen: HashSet<TensorId>,
    /// Stack whose states the main one reads by cross-attention.
    encoder: Option<Stack>,
    /// Stack under the head.
    main: Stack,
    head: Head,
}

impl Network {
    /// Opens a checkpoint of any [`Architecture`], in one file or in shards, stored as float32, bfloat16 or float16.
    ///
    /// # Errors
    /// Names the file and everything that is wrong with it.
    pub fn open(folder: &Path, options: &NetworkOptions) -> Result<Self> {
        let files = CheckpointFiles::open(folder)?;
        let (path, text, generation) = files.config_texts()?;
        let mut config = configuration::parse(&path, &text)?;
        let mut tensors = files.tensor_files()?;
        if let Some(tables) = configuration::tied_tables(&path, &config)?
            && !tensors.are_tied(tables)?
        {
            configuration::untie(&mut config);
        }
        let blueprint = Blueprint::read(&path, &mut config, generation.as_deref())?;
        let stored = tensors.find(blueprint.tensors())?;
        let mut parameters = BTreeMap::new();
        for (name, shape) in blueprint.tensors() {
            let tensor = Tensor::from_vec(stored.numbers(name)?, shape.as_slice(), &options.device)?;
            parameters.insert(name.clone(), Var::from_tensor(&tensor)?);
        }
        Ok(Self::assemble(blueprint, config, parameters, options))
    }

    /// Random weights of the shape that a `config.json` describes: matrices normal with its `initializer_range`, norms
    /// zero. A tensor's numbers follow from the seed and its name.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn random(config_json: &[u8], seed: u64, options: &NetworkOptions) -> Result<Self> {
        let path = Path::new("config.json");
        let mut config = configuration::parse(path, config_json)?;
        let blueprint = Blueprint::read(path, &mut config, None)?;
        let initial = initial::Initial { seed, deviation: configuration::initializer_range(&config) };
        let mut parameters = BTreeMap::new();
        for (name, shape) in blueprint.tensors() {
            parameters.insert(name.clone(), initial.parameter(name, shape, &options.device)?);
        }
        Ok(Self::assemble(blueprint, config, parameters, options))
    }

    /// The same with a linear head that tells `labels` apart by the last token's state; of an encoder-decoder only the
    /// encoder stays. A head that has these labels already is kept, any other is replaced by a random one.
    ///
    /// # Errors
    /// When the tensor library refuses.
    pub fn with_classification_head(self, labels: &[String], seed: u64) -> Result<Self> {
        if configuration::labels(&self.config) == labels && matches!(self.head, Head::Classes { .. }) {
            return Ok(self);
        }
        let Self { mut config, mut parameters, options, .. } = self;
        configuration::make_classifier(&mut config, self.architecture, labels);
        let path = Path::new("config.json");
        let mut blueprint = Blueprint::read(path, &mut config, None)?;
        // Those of `generation_config.json` are known to the network alone.
        blueprint.tokens = self.tokens;
        let initial = initial::Initial { seed, deviation: configuration::initializer_range(&config) };
        let mut kept = BTreeMap::new();
        for (name, shape) in blueprint.tensors() {
            let parameter = match parameters.remove(name) {
                Some(parameter) if !blueprint::is_head(name) => parameter,
                _ => initial.parameter(name, shape, &options.device)?,
            };
            kept.insert(name.clone(), parameter);
        }
        Ok(Self::assemble(blueprint, config, kept, &options))
    }

    fn assemble(
        blueprint: Blueprint,
        mut config: Value,
        parameters: BTreeMap<String, Var>,
        options: &NetworkOptions,
    ) -> Self {
        let encoder_causal = options.encoder_causal || configuration::is_encoder_causal(&config);
        if encoder_causal && blueprint.has_encoder() {
            configuration::mark_encoder_causal(&mut config);
        }
        let (encoder, main, head) = blueprint.build(&parameters, encoder_causal);
        let (architecture, tokens) = (blueprint.architecture, blueprint.tokens);
        let (options, frozen) = (options.clone(), HashSet::new());
        Self { architecture, config, tokens, options, parameters, frozen, encoder, main, head }
    }

    /// What kind of model this is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// What is to be saved beside the weights as `config.json`: that of the source, with what has changed since.
    /// `dtype` is that of the source; whoever saves another type writes that.
    pub fn config_json(&self) -> &Value {
        &self.config
    }

    /// The float32 weights under their published names.
    pub fn parameters(&self) -> &BTreeMap<String, Var> {
        &self.parameters
    }

    /// Ids with a meaning of their own.
    pub fn tokens(&self) -> SpecialTokens {
        self.tokens.clone()
    }

    /// How the network computes.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// Token ids, `0 .. vocab`.
    pub fn vocab(&self) -> usize {
        self.main.config.vocab
    }

    /// The classes of a classifier in their order; none elsewhere.
    pub fn labels(&self) -> Vec<String> {
        match self.head {
            Head::Vocabulary { .. } => Vec::new(),
            Head::Classes { .. } => configuration::labels(&self.config),
        }
    }

    /// From now on [`Network::gradients`] has those of the named parameters only, and computes no others.
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
