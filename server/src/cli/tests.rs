//! The command line as a whole: which command and which settings come of a line, and what is refused.

use std::num::NonZeroUsize;

use clap::CommandFactory;
use clap::error::ErrorKind;
use kernels::Scheme;

use super::*;
use crate::config::{CheckpointName, Config, CrossKv, ModelSource, Quantize, TokenizerSource};

fn resolve_all(line: &str) -> Result<(Command, Configs), ConfigError> {
    Cli::try_parse_from(line.split_whitespace()).unwrap().resolve(&Environment::default())
}

fn resolve(line: &str) -> (Command, Config) {
    let (command, configs) = resolve_all(line).unwrap();
    configs.check_only().unwrap();
    (command, configs.first().clone())
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
fn serve_takes_several_models_with_names_and_other_flags_for_all() {
    let (command, configs) =
        resolve_all("server --model a=/m --model /run=3/final --model b=./x=y --dtype f32").unwrap();
    assert_eq!(command, Command::Serve);
    let models: Vec<_> =
        configs.iter().map(|config| (config.model.served_name.as_str(), &config.model.source)).collect();
    let folder = |path: &str| ModelSource::Checkpoint(path.into());
    assert_eq!(models, [("a", &folder("/m")), ("final", &folder("/run=3/final")), ("b", &folder("./x=y"))]);
    assert!(configs.iter().all(|config| config.model.precision == kernels::Precision::F32));
    let twice = resolve_all("server --model a=/m --model a=/n").unwrap_err().to_string();
    assert!(twice.contains("command line: model[1].served_name: `a` is a name or an alias already"), "{twice}");
    let twice = resolve_all("server --model a=/m --served-model-name b").unwrap_err().to_string();
    assert!(twice.contains("command line: model.served_name: excludes the name of a model in the list"), "{twice}");
    let (_, config) = resolve("server --model /m --served-model-name b");
    assert_eq!(config.model.served_name, "b");
    let several = resolve_all("server generate x --model /m --model /n").unwrap_err().to_string();
    assert!(several.contains("this command runs one model, and the settings name 2: m, n"), "{several}");
    assert_eq!(refusal("server --model =/m"), ErrorKind::ValueValidation);
    assert_eq!(refusal("server --model a="), ErrorKind::ValueValidation);
}

#[test]
fn pull_takes_an_id_whose_revision_may_stand_apart() {
    let id = |line: &str| match resolve(line).0 {
        Command::Pull(options) => options.id.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(id("server pull google/t5gemma-s-s-ul2"), "google/t5gemma-s-s-ul2");
    assert_eq!(id("server pull a/b@v1"), "a/b@v1");
    assert_eq!(id("server pull a/b@v1 --revision v2"), "a/b@v2");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("several.toml");
    std::fs::write(&file, "[[model]]\npath = \"a\"\n[[model]]\npath = \"b\"").unwrap();
    let (command, _) = resolve_all(&format!("server pull a/b --config {}", file.display())).unwrap();
    assert!(matches!(command, Command::Pull(_)), "models of the settings are not what is pulled");
    for line in ["server pull", "server pull a", "server pull a/b --revision ../c", "server pull /a/b"] {
        let kind = refusal(line);
        assert!([ErrorKind::MissingRequiredArgument, ErrorKind::ValueValidation].contains(&kind), "{line}: {kind:?}");
    }
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
    let options = |line: &str| match resolve(line).0 {
        Command::Adapt(options) => options,
        other => panic!("{other:?}"),
    };
    let folder = |path: &str| CheckpointName::Folder(path.into());
    let expected =
        AdaptOptions { encoder: folder("a"), decoder: folder("b"), tokenizer: None, out: "c".into(), seed: 1 };
    assert_eq!(options(line), expected);
    assert_eq!(options(&format!("{line} --seed 7")), AdaptOptions { seed: 7, ..expected });
    let of_hub = options("server adapt --encoder google/gemma-2-9b@v1 --decoder b --out c").encoder;
    assert!(matches!(of_hub, CheckpointName::Hub(id) if id.to_string() == "google/gemma-2-9b@v1"));
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
    let error = resolve_all("server --threads 5000").unwrap_err();
    assert!(error.to_string().contains("command line: model.threads: must be between 0 and 1024"));
}
