//! Resolving files and flags, and the errors for those that cannot be used.

use super::*;

fn layer(text: &str) -> Layer {
    Layer::parse("my.toml", text).unwrap()
}

fn resolve(text: &str) -> Config {
    Config::from_layers(vec![layer(text)]).unwrap()
}

fn refusal(text: &str) -> String {
    Config::from_layers(vec![layer(text)]).unwrap_err().to_string()
}

#[test]
fn the_embedded_defaults_are_complete_and_every_key_is_read() {
    let config = Config::from_layers(Vec::new()).unwrap();
    assert_eq!((config.server.host.as_str(), config.server.port), ("127.0.0.1", 8080));
    assert_eq!(config.model.source, ModelSource::Demo);
    assert_eq!(config.model.tokenizer, TokenizerSource::Checkpoint);
    assert_eq!((config.model.served_name.as_str(), config.model.precision), ("demo", Precision::Bf16));
    assert!(config.model.threads >= 1);
    let limits = config.limits;
    assert_eq!((limits.queued_rows, limits.running_rows, limits.choices, limits.prompts), (1024, 64, 16, 64));
    assert_eq!((limits.source_tokens, limits.target_tokens), (8192, 2048));
    assert_eq!((limits.page_pool_bytes, limits.body_bytes), (1 << 30, 4 << 20));
    assert_eq!((limits.unparsed_body_bytes, limits.drain_body_bytes), (64 << 20, 16 << 20));
    assert_eq!((limits.top_logprobs, limits.stop_strings, limits.stop_bytes), (20, 16, 1024));
    assert_eq!((limits.total_choices, limits.total_logprobs), (1024, 1 << 20));
    let seconds = [limits.header_timeout, limits.keep_alive_timeout, limits.body_timeout].map(|time| time.as_secs());
    assert_eq!((limits.connections, seconds), (1024, [10, 75, 60]));
}

#[test]
fn a_file_changes_only_the_keys_it_names_and_later_layers_win() {
    let file = layer("[server]\nport = 9000\nhost = \"::1\"\n[limits]\nchoices = 2");
    let flags = layer("[server]\nport = 0");
    let config = Config::from_layers(vec![file, flags]).unwrap();
    assert_eq!((config.server.host.as_str(), config.server.port), ("::1", 0));
    assert_eq!((config.limits.choices, config.limits.prompts), (2, 64));
}

#[test]
fn every_problem_is_reported_at_once_with_its_file_and_key() {
    let file = layer("[server]\nprot = 1\n[limits]\nchoices = \"two\"\nprompts = 0\n[colours]\nred = 1");
    let flags = Layer { origin: "command line".into(), ..layer("[server]\nport = 70000\n[model]\ndtype = \"f16\"") };
    let ConfigError::Invalid { problems } = Config::from_layers(vec![file, flags]).unwrap_err() else {
        panic!("the layers parse");
    };
    let mut lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.sort();
    let unknown = lines.pop().unwrap();
    assert!(unknown.starts_with("my.toml: server.prot: unknown (there are: access_log, "), "{unknown}");
    assert!(unknown.contains(", port, ") && unknown.ends_with(')'), "{unknown}");
    assert_eq!(
        lines,
        [
            "command line: model.dtype: must be one of auto, f32, bf16, is \"f16\"",
            "command line: server.port: must be between 0 and 65535, is 70000",
            "my.toml: colours: unknown (there are: cuda, limits, model, server)",
            "my.toml: limits.choices: must be of type integer, is string",
            "my.toml: limits.prompts: must be between 1 and 65536, is 0",
        ]
    );
}

#[test]
fn lists_hold_strings_that_say_something() {
    let server = resolve("[server]\nallowed_origins = [\"https://a.example\", \"*\"]").server;
    assert_eq!((server.allowed_origins.len(), server.allowed_hosts.len()), (2, 0));
    for list in ["[1]", "[\"\"]", "[\"a\", true]"] {
        let refused = refusal(&format!("[server]\nallowed_hosts = {list}"));
        assert!(refused.contains("server.allowed_hosts: must be a list of strings, none of them empty"), "{refused}");
    }
}

#[test]
fn a_section_that_is_no_table_and_negative_numbers_are_refused() {
    assert!(refusal("server = 3").contains("my.toml: server: must be of type table, is integer"));
    assert!(refusal("[model]\nthreads = -1").contains("model.threads: must be between 0 and 1024, is -1"));
    assert!(refusal("[server]\nhost = \" \"").contains("server.host: must not be empty"));
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let error = Layer::parse("my.toml", "[server]\nport = 1\nport = 2\n").unwrap_err().to_string();
    assert!(error.starts_with("my.toml is not valid TOML: line 3: "), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_cause() {
    let error = Config::resolve(Some(Path::new("/nowhere/at/all.toml")), toml::Table::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere/at/all.toml");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_file_on_disk_is_laid_over_the_defaults_and_flags_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "[limits]\nrunning_rows = 8\nstep_rows = 16\n").unwrap();
    let flags = "[limits]\nstep_rows = 32".parse().unwrap();
    let limits = Config::resolve(Some(&path), flags).unwrap().limits;
    assert_eq!((limits.running_rows, limits.step_rows), (8, 32));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let clash = |text| refusal(text).replace("invalid configuration: my.toml: ", "");
    assert_eq!(
        clash("[limits]\nprompts = 2000"),
        "limits.prompts: limits.prompts (2000) must be at most limits.queued_rows (1024)"
    );
    assert_eq!(
        clash("[limits]\nstep_rows = 63"),
        "limits.step_rows: limits.running_rows (64) must be at most limits.step_rows (63)"
    );
    assert_eq!(
        clash("[limits]\nunparsed_body_bytes = 4096"),
        "limits.unparsed_body_bytes: limits.peer_body_bytes (33554432) must be at most limits.unparsed_body_bytes \
         (4096)"
    );
    assert_eq!(
        clash("[limits]\npeer_body_bytes = 4096"),
        "limits.peer_body_bytes: limits.body_bytes (4194304) must be at most limits.peer_body_bytes (4096)"
    );
    assert_eq!(
        clash("[limits]\nqueued_rows = 1000"),
        "limits.queued_rows: limits.total_choices (1024) must be at most limits.queued_rows (1000)"
    );
    assert_eq!(clash("[limits]\nqueued_rows = 0"), "limits.queued_rows: must be between 1 and 65536, is 0");
    assert_eq!(
        clash("[limits]\nkeep_alive_timeout_s = 5"),
        "limits.keep_alive_timeout_s: limits.header_timeout_s (10) must be at most limits.keep_alive_timeout_s (5)"
    );
}

#[test]
fn a_device_is_one_of_the_list() {
    assert_eq!(resolve("[model]\ndevice = \"cuda\"").model.device, Device::Cuda);
    assert!(refusal("[model]\ndevice = \"tpu\"").contains("must be one of auto, cpu, cuda, is \"tpu\""));
}

#[test]
fn sizes_of_steps_are_numbers_in_ascending_order() {
    assert_eq!(resolve("[cuda]\nstep_row_buckets = [3, 70]").cuda.step_row_buckets, [3, 70]);
    for list in ["[8, 4]", "[4, 4]", "[0]", "[\"4\"]", "[1.5]"] {
        let refused = refusal(&format!("[cuda]\nstep_row_buckets = {list}"));
        assert!(
            refused.contains("cuda.step_row_buckets: must be whole numbers from 1 to 65536 in ascending order"),
            "{refused}"
        );
    }
}

#[test]
fn sources_are_kept_in_int8_beside_bfloat16_and_exactly_beside_float32_unless_told_otherwise() {
    let kept = |text: &str| {
        let choice = resolve(&format!("[model]\n{text}")).model;
        choice.cross_kv.beside(choice.precision)
    };
    assert_eq!((kept(""), kept("dtype = \"f32\"")), (KvFormat::Int8, KvFormat::F32));
    assert_eq!(
        (kept("cross_kv = \"same\""), kept("dtype = \"f32\"\ncross_kv = \"int8\"")),
        (KvFormat::Bf16, KvFormat::Int8)
    );
    assert!(refusal("[model]\ncross_kv = \"int4\"").contains("model.cross_kv: must be one of auto, same, int8"));
}

#[test]
fn a_shape_has_no_tokenizer_unless_one_is_given() {
    assert_eq!(resolve("[model]\nshape = \"s-s\"").model.tokenizer, TokenizerSource::None);
    let given = resolve("[model]\nshape = \"s-s\"\ntokenizer = \"t.json\"").model.tokenizer;
    assert_eq!(given, TokenizerSource::File("t.json".into()));
    assert_eq!(resolve("[model]\ntokenizer = \"none\"").model.tokenizer, TokenizerSource::None);
}

#[test]
fn the_model_is_named_after_its_folder_or_shape_unless_it_is_given_a_name() {
    assert_eq!(resolve("[model]\npath = \"/models/summaries/\"").model.served_name, "summaries");
    assert_eq!(resolve("[model]\npath = \"/\"").model.served_name, "model");
    assert_eq!(resolve("[model]\nshape = \"b-b\"").model.served_name, "b-b");
    assert_eq!(resolve("[model]\nserved_name = \"x\"").model.served_name, "x");
}

#[test]
fn a_path_and_a_shape_exclude_each_other_but_a_flag_replaces_the_file_s_choice() {
    let both = "[model]\npath = \"a\"\nshape = \"s-s\"";
    assert!(refusal(both).contains("model.shape: excludes model.path"));
    let file = || layer("[model]\npath = \"a\"");
    let config = Config::from_layers(vec![file(), layer("[model]\nshape = \"s-s\"")]).unwrap();
    assert_eq!(config.model.source, ModelSource::Shape("s-s".into()));
    let config = Config::from_layers(vec![layer("[model]\nshape = \"s-s\""), file()]).unwrap();
    assert_eq!(config.model.source, ModelSource::Checkpoint("a".into()));
}
