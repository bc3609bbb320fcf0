//! The command line: flags and subcommands, turned into a [`Config`] and what to do with it.
//!
//! Called by `main` only. Reads no environment and touches no file but the one that `--config` names.

mod adapt;
mod eval;
mod train;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use kernels::Scheme;
use toml::{Table, Value};

pub use adapt::AdaptOptions;
pub use eval::{EvalOptions, Metric, ObjectiveChoice};
pub use train::TrainOptions;

use crate::config::{CROSS_KVS, Config, ConfigError, DTYPES, LOG_LEVELS, QUANTIZATIONS, SCHEMES};

/// Serves T5Gemma over an OpenAI-style HTTP API. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "server", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Answer HTTP requests until SIGTERM
    Serve(ServeArguments),
    /// Write one continuation to standard output
    Generate(GenerateArguments),
    /// Measure encoder and decoder without HTTP; prints JSON lines, or tables
    Bench(BenchArguments),
    /// Write a quantised copy of a checkpoint
    Quantize(QuantizeArguments),
    /// Make an encoder-decoder of decoder-only Gemma 2 checkpoints
    Adapt(AdaptArguments),
    /// Train a model as a settings file describes it, or go on with a run that was stopped
    Train(TrainArguments),
    /// Measure a checkpoint's answers to the rows of a file
    Eval(EvalArguments),
}

/// What the process is to do; its settings are a [`Config`].
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Answer HTTP requests.
    Serve,
    /// Write one continuation.
    Generate(GenerateOptions),
    /// Measure.
    Bench(BenchOptions),
    /// Write a quantised checkpoint.
    Quantize(QuantizeOptions),
    /// Make an encoder-decoder.
    Adapt(AdaptOptions),
    /// Train.
    Train(TrainOptions),
    /// Measure answers.
    Eval(EvalOptions),
}

/// One continuation on the terminal.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GenerateOptions {
    /// Source text; read from standard input when absent or "-"
    pub prompt: Option<String>,
    /// Tokens to generate at most
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Randomness of the choice; 0, as anything below 1e-5, always takes the most probable token
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = temperature)]
    pub temperature: f64,
    /// Choose among the most probable tokens that make up this share, above 0 and up to 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = top_p)]
    pub top_p: f32,
    /// Choose among this many of the most probable tokens; 0 is all
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub top_k: u32,
    /// Seed of the choice; a random one when absent
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BenchOptions {
    /// Tokens of each source
    #[arg(long = "source", value_name = "TOKENS", default_value = "256")]
    pub source_len: NonZeroUsize,
    /// Tokens generated from each, at least 2: the first ends the encoder's time, the others are steps
    #[arg(long = "target", value_name = "TOKENS", default_value = "64", value_parser = target_len)]
    pub target_len: usize,
    /// Batch sizes, one measurement each [default: 1,8,32; with --sweep 1,2,4,8,16,32]
    #[arg(long = "batch", value_name = "SIZES", value_delimiter = ',')]
    batches: Vec<NonZeroUsize>,
    /// Measure every precision, print a table and write a report
    #[arg(long, conflicts_with_all = ["profile", "dtype", "quantize"])]
    sweep: bool,
    /// Show time and bytes of each op instead, against what the memory allows
    #[arg(long)]
    profile: bool,
    /// Run so many requests of mixed lengths instead (512 tokens of source and target in the mean), all at once
    #[arg(long, value_name = "REQUESTS", conflicts_with_all = ["sweep", "profile", "batches", "source_len", "target_len"])]
    pub mixed: Option<NonZeroUsize>,
    /// Markdown page whose section the sweep writes [default: docs/benchmarks.md if there is one here, else
    /// benchmarks.md]
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub report: Option<PathBuf>,
}

/// How a bench measures and what it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchKind {
    /// A JSON line for each batch size.
    Lines,
    /// A table of every precision, and a report.
    Sweep,
    /// A table of ops for each batch size.
    Profile,
    /// A JSON line for so many requests of mixed lengths.
    Mixed(usize),
}

impl BenchOptions {
    /// What is asked for.
    pub fn kind(&self) -> BenchKind {
        match self {
            Self { sweep: true, .. } => BenchKind::Sweep,
            Self { profile: true, .. } => BenchKind::Profile,
            Self { mixed: Some(requests), .. } => BenchKind::Mixed(requests.get()),
            _ => BenchKind::Lines,
        }
    }

    /// Batch sizes in the order in which they are measured.
    pub fn batches(&self) -> Vec<usize> {
        let usual: &[usize] = if self.sweep { &[1, 2, 4, 8, 16, 32] } else { &[1, 8, 32] };
        if self.batches.is_empty() { usual.to_vec() } else { self.batches.iter().map(|batch| batch.get()).collect() }
    }
}

/// A quantised copy.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct QuantizeOptions {
    /// Folder to write to; it must be empty or not there yet
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// What the matrices of the layers become
    #[arg(long, value_name = "SCHEME", value_parser = scheme())]
    pub scheme: Scheme,
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    shared: SharedArguments,
    /// Name that clients give as `model` [default: the folder's or shape's name, or "demo"]
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// TCP port; 0 takes a free one [default: 8080]
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Debug, Args)]
struct GenerateArguments {
    #[command(flatten)]
    shared: SharedArguments,
    #[command(flatten)]
    options: GenerateOptions,
}

#[derive(Debug, Args)]
struct BenchArguments {
    #[command(flatten)]
    shared: SharedArguments,
    #[command(flatten)]
    options: BenchOptions,
}

#[derive(Debug, Args)]
struct EvalArguments {
    #[command(flatten)]
    shared: SharedArguments,
    #[command(flatten)]
    options: EvalOptions,
}

#[derive(Debug, Args)]
struct QuantizeArguments {
    /// Folder of a checkpoint in the published layout [default: the built-in demo]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Least severe message on standard error [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = LOG_LEVELS)]
    log_level: Option<String>,
    #[command(flatten)]
    options: QuantizeOptions,
}

#[derive(Debug, Args)]
struct AdaptArguments {
    #[command(flatten)]
    options: AdaptOptions,
    /// Least severe message on standard error [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = LOG_LEVELS)]
    log_level: Option<String>,
}

#[derive(Debug, Args)]
struct TrainArguments {
    #[command(flatten)]
    options: TrainOptions,
    /// Least severe message on standard error [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = LOG_LEVELS)]
    log_level: Option<String>,
}

/// Flags of every command that runs a model. They carry no defaults: `config.toml` does.
#[derive(Debug, Default, Args)]
struct SharedArguments {
    /// Settings to lay over the built-in config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of a checkpoint in the published layout [default: the built-in demo]
    #[arg(long, value_name = "FOLDER", conflicts_with = "shape")]
    model: Option<PathBuf>,
    /// Random weights of a published shape instead of a checkpoint, such as s-s or 2b-2b
    #[arg(long, value_name = "NAME")]
    shape: Option<String>,
    /// A tokenizer.json, or "none" for token ids only [default: the checkpoint's own]
    #[arg(long, value_name = "FILE|none")]
    tokenizer: Option<PathBuf>,
    /// Where to compute: auto, cpu or cuda [default: auto]
    #[arg(long)]
    device: Option<String>,
    /// Arithmetic of whatever is not quantised: keys, values, tables, attention [default: auto, which is bf16]
    #[arg(long, value_parser = DTYPES)]
    dtype: Option<String>,
    /// What the matrices of the layers are quantised to [default: auto, which is as the checkpoint is]
    #[arg(long, value_name = "SCHEME", value_parser = QUANTIZATIONS)]
    quantize: Option<String>,
    /// How the sources' keys and values are kept: same (as dtype), int8 or auto [default: auto]
    #[arg(long, value_name = "FORMAT", value_parser = CROSS_KVS)]
    cross_kv: Option<String>,
    /// Threads of the model; 0 takes every core [default: 0]
    #[arg(long, value_name = "COUNT")]
    threads: Option<u32>,
    /// Least severe message on standard error [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = LOG_LEVELS)]
    log_level: Option<String>,
}

impl Cli {
    /// What to do, with all settings: defaults, file and flags in that order.
    pub fn resolve(self) -> Result<(Command, Config), ConfigError> {
        let (command, arguments) = match self.command.unwrap_or(Subcommands::Serve(self.serve)) {
            Subcommands::Serve(arguments) => (Command::Serve, arguments),
            Subcommands::Generate(GenerateArguments { shared, options }) => (Command::Generate(options), shared.into()),
            Subcommands::Bench(BenchArguments { shared, options }) => (Command::Bench(options), shared.into()),
            Subcommands::Eval(EvalArguments { shared, options }) => (Command::Eval(options), shared.into()),
            Subcommands::Quantize(QuantizeArguments { model, log_level, options }) => {
                let shared = SharedArguments { model, log_level, ..SharedArguments::default() };
                (Command::Quantize(options), shared.into())
            }
            Subcommands::Train(TrainArguments { options, log_level }) => {
                (Command::Train(options), SharedArguments { log_level, ..SharedArguments::default() }.into())
            }
            Subcommands::Adapt(AdaptArguments { options, log_level }) => {
                (Command::Adapt(options), SharedArguments { log_level, ..SharedArguments::default() }.into())
            }
        };
        let config = Config::resolve(arguments.shared.config.as_deref(), arguments.settings())?;
        Ok((command, config))
    }
}

impl From<SharedArguments> for ServeArguments {
    fn from(shared: SharedArguments) -> Self {
        Self { shared, served_model_name: None, host: None, port: None }
    }
}

impl ServeArguments {
    /// The flags that were given, as a configuration file would say them.
    fn settings(&self) -> Table {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.to_string_lossy().into_owned().into());
        let shared = &self.shared;
        let server = [
            ("host", text(&self.host)),
            ("port", self.port.map(|port| Value::Integer(port.into()))),
            ("log_level", text(&shared.log_level)),
        ];
        let model = [
            ("path", path(&shared.model)),
            ("shape", text(&shared.shape)),
            ("tokenizer", path(&shared.tokenizer)),
            ("served_name", text(&self.served_model_name)),
            ("device", text(&shared.device)),
            ("dtype", text(&shared.dtype)),
            ("quantize", text(&shared.quantize)),
            ("cross_kv", text(&shared.cross_kv)),
            ("threads", shared.threads.map(|count| Value::Integer(count.into()))),
        ];
        Table::from_iter([("server".to_owned(), given(server)), ("model".to_owned(), given(model))])
    }
}

fn given<const COUNT: usize>(settings: [(&str, Option<Value>); COUNT]) -> Value {
    let named = settings.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Table(named.collect())
}

fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(SCHEMES.map(|(name, _)| name)).map(|text| {
        let known = SCHEMES.into_iter().find(|(name, _)| *name == text);
        known.expect("the parser lets only these names through").1
    })
}

fn temperature(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if value >= 0.0 { Ok(value) } else { Err("must not be negative".into()) }
}

fn top_p(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    // A double that rounds to zero in float32 would be out of range again.
    if value > 0.0 && value <= 1.0 {
        Ok((value as f32).max(f32::MIN_POSITIVE))
    } else {
        Err("must be above 0 and at most 1".into())
    }
}

/// A number that float32 can hold.
fn number(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    if (value as f32).is_finite() { Ok(value) } else { Err("must be finite".into()) }
}

fn target_len(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "is not a whole number".to_owned())?;
    if count >= 2 { Ok(count) } else { Err("must be at least 2".into()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use model::AdaptRequest;

    use super::*;
    use crate::config::{CrossKv, ModelSource, Quantize, TokenizerSource};

    fn resolve(line: &str) -> (Command, Config) {
        Cli::try_parse_from(line.split_whitespace()).unwrap().resolve().unwrap()
    }

    fn refusal(line: &str) -> ErrorKind {
        Cli::try_parse_from(line.split_whitespace()).unwrap_err().kind()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve_with_or_without_flags() {
        for line in ["server --port 0", "server serve --port 0"] {
            let (command, config) = resolve(line);
            assert_eq!((command, config.server.port), (Command::Serve, 0));
        }
        assert_eq!(resolve("server").1.server.port, 8080);
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let line = "server serve --model /m --tokenizer none --served-model-name x --host ::1 --port 9 --device cpu \
                    --dtype f32 --quantize int4 --cross-kv int8 --threads 3 --log-level debug";
        let (_, config) = resolve(line);
        assert_eq!(config.model.source, ModelSource::Checkpoint("/m".into()));
        assert_eq!(config.model.tokenizer, TokenizerSource::None);
        assert_eq!((config.model.served_name.as_str(), config.model.threads), ("x", 3));
        assert_eq!(config.model.precision, kernels::Precision::F32);
        assert_eq!(config.model.quantize, Quantize::To(Scheme::Int4));
        assert_eq!(config.model.cross_kv, CrossKv::Int8);
        assert_eq!((config.server.host.as_str(), config.server.port, config.server.log_level), ("::1", 9, "debug"));
    }

    #[test]
    fn generate_takes_a_prompt_and_model_flags_and_is_greedy_by_default() {
        let (command, config) = resolve("server generate hello --shape s-s --top-k 5 --seed 7");
        let Command::Generate(options) = command else { panic!("it is generate") };
        assert_eq!(options.prompt.as_deref(), Some("hello"));
        assert_eq!((options.max_tokens, options.temperature, options.top_p), (64, 0.0, 1.0));
        assert_eq!((options.top_k, options.seed), (5, Some(7)));
        assert_eq!(config.model.source, ModelSource::Shape("s-s".into()));
    }

    #[test]
    fn eval_takes_a_file_metrics_and_model_flags() {
        let (command, config) = resolve("server eval --data d.jsonl --metrics loss,rouge --limit 5 --json --dtype f32");
        let Command::Eval(options) = command else { panic!("it is eval") };
        assert_eq!((options.data, options.metrics), ("d.jsonl".into(), vec![Metric::Loss, Metric::Rouge]));
        assert_eq!((options.objective, options.max_tokens, options.json), (ObjectiveChoice::Auto, 64, true));
        assert_eq!((options.separator.as_str(), options.limit.map(NonZeroUsize::get)), ("\n\n", Some(5)));
        assert_eq!(config.model.precision, kernels::Precision::F32);
        assert_eq!(refusal("server eval"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("server eval --data d.jsonl --metrics meteor"), ErrorKind::InvalidValue);
    }

    #[test]
    fn bench_takes_a_list_of_batches() {
        let (command, _) = resolve("server bench --shape s-s --source 128 --target 32 --batch 1,4 --dtype f32");
        let Command::Bench(options) = command else { panic!("it is bench") };
        assert_eq!((options.source_len.get(), options.target_len), (128, 32));
        assert_eq!((options.batches(), options.kind()), (vec![1, 4], BenchKind::Lines));
        let Command::Bench(defaults) = resolve("server bench").0 else { panic!("it is bench") };
        assert_eq!(defaults.batches(), [1, 8, 32]);
    }

    #[test]
    fn bench_sweeps_or_profiles_but_not_both() {
        let Command::Bench(sweep) = resolve("server bench --sweep --report a.md").0 else { panic!("it is bench") };
        assert_eq!((sweep.kind(), sweep.batches()), (BenchKind::Sweep, vec![1, 2, 4, 8, 16, 32]));
        assert_eq!(sweep.report, Some("a.md".into()));
        let Command::Bench(profile) = resolve("server bench --profile --dtype f32").0 else { panic!("it is bench") };
        assert_eq!((profile.kind(), profile.batches()), (BenchKind::Profile, vec![1, 8, 32]));
        // A sweep measures every precision: one that is named would be ignored.
        assert_eq!(refusal("server bench --sweep --profile"), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("server bench --sweep --dtype f32"), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("server bench --report a.md"), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn quantize_takes_a_checkpoint_or_the_demo_a_folder_and_a_scheme() {
        let (command, config) = resolve("server quantize --model /m --out /o --scheme int4 --log-level warn");
        assert_eq!(command, Command::Quantize(QuantizeOptions { out: "/o".into(), scheme: Scheme::Int4 }));
        assert_eq!(config.model.source, ModelSource::Checkpoint("/m".into()));
        assert_eq!(config.server.log_level, "warn");
        assert_eq!(resolve("server quantize --out o --scheme int8").1.model.source, ModelSource::Demo);
    }

    #[test]
    fn adapt_takes_two_checkpoints_a_folder_and_a_seed() {
        let line = "server adapt --encoder a --decoder b --out c";
        let request = |line: &str| match resolve(line).0 {
            Command::Adapt(options) => options.request(),
            other => panic!("{other:?}"),
        };
        let expected = AdaptRequest { encoder: "a".into(), decoder: "b".into(), out: "c".into(), seed: 1 };
        assert_eq!(request(line), expected);
        assert_eq!(request(&format!("{line} --seed 7")), AdaptRequest { seed: 7, ..expected });
        assert_eq!(refusal("server adapt --encoder a --out c"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("server adapt --model a --decoder b --out c"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn train_takes_its_settings_from_a_file_of_its_own() {
        let (command, config) = resolve("server train --config /nowhere/train.toml --log-level warn");
        assert_eq!(command, Command::Train(TrainOptions { config: "/nowhere/train.toml".into() }));
        assert_eq!(config.server.log_level, "warn");
        assert_eq!(refusal("server train"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("server train --config a --model b"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn misuse_is_refused_before_anything_is_read() {
        assert_eq!(refusal("server --model a --shape s-s"), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("server generate --model a --shape s-s"), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("server --dtype f16"), ErrorKind::InvalidValue);
        assert_eq!(refusal("server --quantize int3"), ErrorKind::InvalidValue);
        assert_eq!(refusal("server quantize --out o --scheme none"), ErrorKind::InvalidValue);
        assert_eq!(refusal("server quantize --scheme int8"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("server quantize --out o --scheme int8 --shape s-s"), ErrorKind::UnknownArgument);
        assert_eq!(refusal("server --colour red"), ErrorKind::UnknownArgument);
        for line in ["--temperature -1", "--temperature nan", "--top-p 0", "--top-p 1.5", "--max-tokens 0"] {
            let line = format!("server generate x {}", line.replace(' ', "="));
            assert_eq!(refusal(&line), ErrorKind::ValueValidation, "{line}");
        }
        for line in ["--batch 0", "--batch 1,,2", "--target 1", "--source 0"] {
            assert_eq!(refusal(&format!("server bench {line}")), ErrorKind::ValueValidation, "{line}");
        }
    }

    #[test]
    fn a_flag_beyond_its_range_names_the_command_line() {
        let error = Cli::try_parse_from(["server", "--threads", "5000"]).unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains("command line: model.threads: must be between 0 and 1024"));
    }
}
