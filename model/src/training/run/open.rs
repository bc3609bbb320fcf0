//! The beginning of a run, new or resumed: settings, files and saved progress are opened and checked.
//!
//! Called by `run`. Reads and checks everything before the first step.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::Run;
use super::finish::FINAL;
use crate::checkpoint::architecture_of;
use crate::config::{ConfigDocument, Generation, Stacks};
use crate::input;
use crate::out_file::{make_folder, open_lock};
use crate::tokenizer::Tokenizer;
use crate::training::data::{BatchSettings, DataSet, Feed, Position, Reading, Report};
use crate::training::error::{Error, Result};
use crate::training::metrics::Metrics;
use crate::training::network::{Network, NetworkOptions};
use crate::training::objective::{Ingredients, ModelTokens, Reader, Recipe};
use crate::training::observer::{Observer, Prepared};
use crate::training::optimizer::AdamW;
use crate::training::published::Companions;
use crate::training::settings::{EncoderAttention, Objective, Settings};
use crate::training::spikes::RecentLoss;
use crate::training::stages::{DEFAULT_CROSS_ATTENTION_STEPS, Plan};
use crate::training::state::{Checkpoints, FORMAT, Progress, differences, fingerprint};
use crate::training::validation::Validation;
use crate::training::{device, distillation, whole_folder};

/// Lock file, held while a process trains in a folder; the system releases it when the process ends, however that
/// happens.
const LOCK: &str = ".lock";
/// Folder of the token cache in a run's folder.
const CACHE: &str = "cache";
const TOKENIZER: &str = "tokenizer.json";
const GENERATION_CONFIG: &str = "generation_config.json";

impl<'a> Run<'a> {
    pub(super) fn open(settings: &'a Settings, observer: &mut dyn Observer) -> Result<Self> {
        make_folder(&settings.out).map_err(|source| failed("create", &settings.out, source))?;
        let lock = lock(&settings.out)?;
        // Checked now rather than after the last step.
        whole_folder::place_of(&settings.out.join(FINAL))?;
        let checkpoints = Checkpoints::open(&settings.out)?;
        let earlier = checkpoints.steps()?.last().map(|&step| checkpoints.progress(step)).transpose()?;
        let begun = earlier.as_ref().map(|progress| checkpoints.path(progress.step));
        let complete = complete(settings, begun.as_deref())?;
        let plan = plan_of(&complete, earlier.as_ref())?;
        let options = NetworkOptions {
            device: device::open(settings)?,
            compute: device::compute(settings),
            encoder_causal: settings.model.encoder_attention == EncoderAttention::Causal,
            activation_checkpointing: settings.model.activation_checkpointing,
        };
        let companions = companions(settings, begun.as_deref())?;
        let network = network(settings, begun.as_deref(), &options)?;
        tell_of_tower(settings, &network, observer);
        let tokenizer = tokenizer(&companions, &network)?;
        let plan = match plan {
            Some(plan) => plan,
            None => first_plan(settings, &network, observer),
        };
        let data = Data::open(&complete, &network, tokenizer.as_ref(), observer)?;
        let mut network = match settings.objective {
            Objective::Classify { .. } => {
                network.with_classification_head(data.train.data().labels(), settings.seed)?
            }
            _ => network,
        };
        if let Some(tokens) = data.recipe.denoising_tokens() {
            network.mark_denoising(&tokens);
        }
        check_fit(settings, &plan, &network)?;
        let teacher = settings.distillation.as_ref();
        let teacher = teacher.map(|own| distillation::open(own, &network, companions.get(TOKENIZER), &options));
        let teacher = teacher.transpose()?;
        let fingerprint = format!("{:032x}", data.train.data().fingerprint());
        let (optimizer, progress) = match earlier {
            Some(earlier) => {
                check_data(settings, &earlier, &fingerprint)?;
                let moments = checkpoints.moments(&earlier, &options.device)?;
                (AdamW::resume(&settings.optimizer, moments), Progress { stages: settings.stages.clone(), ..earlier })
            }
            None => (AdamW::new(&settings.optimizer), first_progress(&complete, &plan, fingerprint)),
        };
        let run = Self {
            settings,
            metrics: Metrics::open(&settings.out, progress.step)?,
            earlier_s: progress.elapsed_s,
            plan,
            network,
            teacher,
            feed: data.train,
            recipe: data.recipe,
            validation: data.validation,
            tokenizer,
            optimizer,
            progress,
            checkpoints,
            companions,
            stage: None,
            started: Instant::now(),
            _lock: lock,
        };
        observer.prepared(&run.prepared());
        Ok(run)
    }

    fn prepared(&self) -> Prepared {
        let numbers = self.network.parameters().values().map(|weight| weight.elem_count() as u64);
        Prepared {
            done_steps: self.progress.step,
            total_steps: self.plan.steps(),
            parameters: numbers.sum(),
            train_rows: self.feed.data().rows(),
            valid_rows: self.validation.rows(),
        }
    }
}

/// The rows.
struct Data {
    train: Feed,
    validation: Validation,
    recipe: Arc<Recipe>,
}

impl Data {
    fn open(
        settings: &Settings,
        network: &Network,
        tokenizer: Option<&Tokenizer>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let tokens = network.tokens();
        let reader = match network.architecture().stacks {
            Stacks::EncoderDecoder | Stacks::Encoder => Reader::EncoderDecoder,
            Stacks::Decoder => Reader::DecoderOnly,
        };
        let (source_vocab, target_vocab) = (network.vocab(), network.vocab());
        let tokens = ModelTokens { start: tokens.start, end: tokens.end, source_vocab, target_vocab };
        let (objective, data) = (&settings.objective, &settings.data);
        let recipe = Arc::new(Recipe::new(Ingredients { objective, data, tokenizer, reader, tokens: &tokens })?);
        let given = match objective {
            Objective::Classify { labels } if !labels.is_empty() => Some(labels.clone()),
            // A classifier that is trained further keeps the numbers of its classes.
            Objective::Classify { .. } => Some(network.labels()).filter(|labels| !labels.is_empty()),
            _ => None,
        };
        let cache = data.cache.clone().unwrap_or_else(|| settings.out.join(CACHE));
        let mut open = |files, labels| {
            let kind = Recipe::row_kind(objective);
            let reading = Reading { kind, tokenizer, source_vocab, target_vocab, labels, bad_rows: data.bad_rows };
            DataSet::open(files, &reading, &cache, &mut |report: Report<'_>| tell(observer, report))
        };
        let train = open(&data.train, given.as_deref())?;
        let labels = train.labels().to_vec();
        let how = BatchSettings::from(data);
        let batches = if data.valid.is_empty() {
            Vec::new()
        } else {
            let labels = matches!(objective, Objective::Classify { .. }).then_some(labels.as_slice());
            let valid = Feed::new(open(&data.valid, labels)?, Arc::clone(&recipe), how, settings.seed)?;
            valid.validation_batches(settings.validation.rows)?
        };
        let validation = Validation::new(batches, &settings.validation);
        Ok(Self { train: Feed::new(train, Arc::clone(&recipe), how, settings.seed)?, validation, recipe })
    }
}

fn tell(observer: &mut dyn Observer, report: Report<'_>) {
    match report {
        Report::Progress(progress) => observer.tokenised(&progress),
        Report::Skipped { path, line, problem } => {
            observer.row_skipped(&Error::Row { path: path.to_owned(), line, problem: problem.to_owned() })
        }
    }
}

fn lock(out: &Path) -> Result<File> {
    let path = out.join(LOCK);
    let file = open_lock(&path).map_err(|source| failed("write", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { out: out.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path, source)),
    }
}

/// The settings with the defaults of the model's generation.
fn complete<'a>(settings: &'a Settings, begun: Option<&Path>) -> Result<Cow<'a, Settings>> {
    if !settings.objective.follows_generation() {
        return Ok(Cow::Borrowed(settings));
    }
    let architecture = match (begun.or(settings.model.init.as_deref()), &settings.model.config) {
        (Some(folder), _) => architecture_of(folder)?,
        (None, Some(config)) => ConfigDocument::parse(config, &read_config(config)?, None)?.architecture()?,
        (None, None) => unreachable!("the settings were seen to have either"),
    };
    let objective = settings.objective.clone().for_generation(architecture.generation);
    Ok(Cow::Owned(Settings { objective, ..settings.clone() }))
}

/// Tells of a tower for images. The run's own checkpoints have none, so it is told once.
fn tell_of_tower(settings: &Settings, network: &Network, observer: &mut dyn Observer) {
    let end = match settings.objective {
        _ if !network.lacks_tower() => return,
        Objective::Classify { .. } => "a classifier has none",
        _ => "the final model has it as it is",
    };
    observer.note(&format!("the model's tower for images is not trained: {end}"));
}

fn read_config(path: &Path) -> Result<Vec<u8>> {
    input::read(path).map_err(|source| failed("read", path, source))
}

/// The plan of a resumed run, refused if the settings differ from those of the steps it has taken; `None` for a new
/// run.
fn plan_of(settings: &Settings, earlier: Option<&Progress>) -> Result<Option<Plan>> {
    let Some(earlier) = earlier else { return Ok(None) };
    let warmup = settings.cross_attention_warmup_steps.unwrap_or(earlier.cross_attention_warmup_steps);
    let plan = Plan::new(&settings.stages, warmup);
    let mut found = differences(&earlier.settings, &fingerprint(settings));
    if !plan.agrees(&Plan::new(&earlier.stages, earlier.cross_attention_warmup_steps), earlier.step) {
        let step = earlier.step;
        found.push(format!("stage: the {step} steps that were taken would have had other learning rates or weights"));
    }
    if found.is_empty() {
        Ok(Some(plan))
    } else {
        Err(Error::SettingsChanged { out: settings.out.clone(), differences: found })
    }
}

fn first_plan(settings: &Settings, network: &Network, observer: &mut dyn Observer) -> Plan {
    let warmup = warmup_steps(settings, network);
    if settings.cross_attention_warmup_steps.is_none() && warmup > 0 {
        observer.note(&format!(
            "cross-attention was drawn at random: it alone is trained for the first {warmup} steps \
             (cross_attention_warmup_steps)"
        ));
    }
    Plan::new(&settings.stages, warmup)
}

fn warmup_steps(settings: &Settings, network: &Network) -> u64 {
    let is_random = network.document().has_random_cross_attention();
    settings.cross_attention_warmup_steps.unwrap_or(if is_random { DEFAULT_CROSS_ATTENTION_STEPS } else { 0 })
}

fn first_progress(settings: &Settings, plan: &Plan, data: String) -> Progress {
    Progress {
        format: FORMAT,
        step: 0,
        position: Position::default(),
        cross_attention_warmup_steps: plan.cross_attention_steps(),
        best: None,
        worse_validations: 0,
        validated_step: None,
        recent_loss: RecentLoss::default(),
        skipped_steps: 0,
        tokens: 0,
        elapsed_s: 0.0,
        updates: Default::default(),
        data,
        settings: fingerprint(settings),
        stages: settings.stages.clone(),
    }
}

fn check_data(settings: &Settings, earlier: &Progress, fingerprint: &str) -> Result<()> {
    if earlier.data == fingerprint {
        return Ok(());
    }
    let differences = vec!["data.train: the files hold something else than when the run was begun".to_owned()];
    Err(Error::SettingsChanged { out: settings.out.clone(), differences })
}

/// The saved progress, or that of a new run.
fn network(settings: &Settings, begun: Option<&Path>, options: &NetworkOptions) -> Result<Network> {
    match (begun.or(settings.model.init.as_deref()), &settings.model.config) {
        (Some(folder), _) => Network::open(folder, options),
        (None, Some(config)) => Network::random(&read_config(config)?, settings.seed, options),
        (None, None) => unreachable!("the settings were seen to have either"),
    }
}

/// Files that go with the model. A separate tokenizer brings its own files; `generation_config.json` is the
/// model's.
fn companions(settings: &Settings, begun: Option<&Path>) -> Result<Companions> {
    if let Some(begun) = begun {
        return Companions::of(begun);
    }
    let init = settings.model.init.as_deref().map(Companions::of).transpose()?.unwrap_or_default();
    match &settings.model.tokenizer {
        None => Ok(init),
        Some(path) => {
            let found = Companions::of(path)?;
            if found.get(TOKENIZER).is_none() {
                let problems = vec![format!("model.tokenizer: {} has no tokenizer.json", path.display())];
                return Err(Error::Settings { problems });
            }
            Ok(found.with_other(GENERATION_CONFIG, init))
        }
    }
}

/// The tokenizer that goes with the model, if there is one.
fn tokenizer(companions: &Companions, network: &Network) -> Result<Option<Tokenizer>> {
    let read = |json: &[u8]| Tokenizer::for_vocabulary(json, network.vocab());
    Ok(companions.get(TOKENIZER).map(read).transpose()?)
}

/// Refuses a model that cannot be trained with these settings.
fn check_fit(settings: &Settings, plan: &Plan, network: &Network) -> Result<()> {
    let architecture = network.architecture();
    let classifies = matches!(settings.objective, Objective::Classify { .. });
    // Merged attention has the weights of self-attention.
    let has_cross_attention =
        architecture.stacks == Stacks::EncoderDecoder && architecture.generation == Generation::Gemma2;
    let validation = &settings.validation;
    let problems: Vec<String> = [
        (validation.patience > 0 && (settings.data.valid.is_empty() || validation.every_steps == 0))
            .then_some("validation.patience needs data.valid and validation.every_steps"),
        (architecture.classifies() && !classifies)
            .then_some("model.init is a classifier: only objective.kind = \"classify\" trains it"),
        (plan.needs_cross_attention() && !has_cross_attention).then_some(
            "cross-attention is to be trained alone (cross_attention_warmup_steps, stage.train), and the model has \
                 none of its own",
        ),
        (settings.model.encoder_attention == EncoderAttention::Causal && !architecture.has_encoder())
            .then_some("model.encoder_attention = \"causal\" is of an encoder, and the model has none"),
    ]
    .into_iter()
    .flatten()
    .map(str::to_owned)
    .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Settings { problems }) }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
