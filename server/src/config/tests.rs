//! Resolving files and flags, and the errors for those that cannot be used.

use std::path::PathBuf;

use kernels::{KvFormat, Precision};

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
    assert_eq!((limits.source_tokens, limits.target_tokens), (1 << 20, 2048));
    assert_eq!((limits.page_pool_bytes, limits.body_bytes), (1 << 30, 4 << 20));
    assert_eq!((limits.unparsed_body_bytes, limits.drain_body_bytes), (64 << 20, 16 << 20));
    assert_eq!((limits.top_logprobs, limits.stop_strings, limits.stop_bytes), (20, 16, 1024));
    assert_eq!(limits.exact_search_steps, 1024);
    assert_eq!((limits.total_choices, limits.total_logprobs), (1024, 1 << 20));
    assert_eq!(limits.truncated_text_bytes, 1 << 19);
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
            "my.toml: colours: unknown (there are: access, batches, cuda, hub, limits, model, server, telemetry, tls)",
            "my.toml: limits.choices: must be of type integer, is string",
            "my.toml: limits.prompts: must be between 1 and 65536, is 0",
        ]
    );
}

#[test]
fn lists_hold_strings_that_say_something() {
    let server = resolve("[server]\nallowed_origins = [\"https://a.example\", \"*\"]").server;
    assert_eq!((server.allowed_origins.len(), server.allowed_hosts.len()), (2, 0));
    for origin in ["https://app.example:8443", "http://[::1]", "http://10.0.0.1:80", "app-x://localhost"] {
        assert_eq!(resolve(&format!("[server]\nallowed_origins = [{origin:?}]")).server.allowed_origins, [origin]);
    }
    for origin in [
        "app.example",
        "https://",
        "https://a.example/",
        "https://me@a.example",
        "https://a:b",
        "://a",
        "null",
        "a b://c",
    ] {
        let refused = refusal(&format!("[server]\nallowed_origins = [\"*\", {origin:?}]"));
        assert!(refused.contains("server.allowed_origins: each must be * or scheme://host[:port]"), "{refused}");
        assert!(refused.contains(&format!("and {origin:?} is not")), "{refused}");
    }
    for (key, bad) in [("allowed_methods", "GET, POST"), ("allowed_headers", "x y"), ("allowed_headers", "a:b")] {
        let refused = refusal(&format!("[server]\n{key} = [{bad:?}]"));
        assert!(refused.contains(&format!("server.{key}: each must be the name of a ")), "{refused}");
    }
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
    let nowhere = Path::new("/nowhere/at/all.toml");
    let error = Configs::resolve(Some(nowhere), &Environment::default(), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere/at/all.toml");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_file_on_disk_is_laid_over_the_defaults_and_flags_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "[limits]\nrunning_rows = 8\nstep_rows = 16\n").unwrap();
    let flags = "[limits]\nstep_rows = 32".parse().unwrap();
    let limits = Configs::resolve(Some(&path), &Environment::default(), vec![flags]).unwrap().first().limits;
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

fn several(texts: &[&str]) -> Result<Configs, String> {
    let layers = texts.iter().map(|text| layer(text)).collect();
    Configs::from_layers(layers, &Environment::default()).map_err(|error| error.to_string())
}

#[test]
fn each_model_of_a_list_has_settings_and_limits_of_its_own() {
    let text = "[[model]]\npath = \"a\"\naliases = [\"first\"]\n[model.limits]\nrunning_rows = 2\n\
        [[model]]\nshape = \"s-s\"\nserved_name = \"b\"\ndtype = \"f32\"\nthreads = 3\n\
        [model.cuda]\ndeterministic = true\n\
        [limits]\nrunning_rows = 8\nbody_bytes = 2048\n";
    let configs = several(&[text]).unwrap();
    let [first, second] = configs.iter().collect::<Vec<_>>()[..] else { panic!("{configs:?}") };
    assert_eq!((first.model.served_name.as_str(), &first.model.aliases[..]), ("a", &["first".to_owned()][..]));
    assert_eq!((second.model.served_name.as_str(), second.model.threads), ("b", 3));
    assert_eq!(second.model.source, ModelSource::Shape("s-s".into()));
    assert_eq!((first.model.precision, second.model.precision), (Precision::Bf16, Precision::F32));
    assert_eq!([first, second].map(|config| config.limits.running_rows), [2, 8]);
    assert_eq!([first, second].map(|config| config.limits.body_bytes), [2048; 2]);
    assert_eq!([first, second].map(|config| config.cuda.deterministic), [false, true]);
}

#[test]
fn a_table_concerns_every_model_and_a_later_list_replaces_an_earlier_one() {
    let file = "[[model]]\npath = \"a\"\n[[model]]\npath = \"b\"\ndtype = \"f32\"\n";
    let names = |configs: &Configs| configs.iter().map(|config| config.model.served_name.clone()).collect::<Vec<_>>();
    let configs = several(&[file, "[model]\nquantize = \"int8\""]).unwrap();
    assert_eq!(names(&configs), ["a", "b"]);
    assert!(configs.iter().all(|config| matches!(config.model.quantize, Quantize::To(_))));
    let configs = several(&[file, "[[model]]\npath = \"c\""]).unwrap();
    assert_eq!((names(&configs), configs.first().model.precision), (vec!["c".to_owned()], Precision::Bf16));
    let configs = several(&["[model]\ndtype = \"f32\"\npath = \"x\"", "[[model]]\npath = \"c\""]).unwrap();
    assert_eq!((names(&configs), configs.first().model.precision), (vec!["c".to_owned()], Precision::F32));
}

#[test]
fn names_and_aliases_are_given_to_one_model_only() {
    let taken = |text| several(&[text]).unwrap_err();
    let said = taken("[[model]]\npath = \"/x/a\"\n[[model]]\npath = \"/y/a\"");
    assert!(said.contains("my.toml: model[1].path: `a` is a name or an alias already"), "{said}");
    let said = taken("[[model]]\npath = \"a\"\n[[model]]\npath = \"b\"\naliases = [\"c\", \"a\"]");
    assert!(said.contains("my.toml: model[1].aliases: `a` is"), "{said}");
    let said = taken("[model]\npath = \"a\"\naliases = [\"a\"]");
    assert!(said.contains("my.toml: model.aliases: `a` is"), "{said}");
    let said = taken("[[model]]\npath = \"a\"\naliases = [\"b\"]\n[[model]]\nserved_name = \"b\"");
    assert!(said.contains("my.toml: model[1].served_name: `b` is"), "{said}");
    assert!(several(&["[[model]]\n[[model]]"]).unwrap_err().contains("`demo` is"));
}

#[test]
fn a_problem_of_one_model_is_named_with_its_place_and_a_common_one_once() {
    let text = "[[model]]\npath = \"a\"\ncolour = 1\n[[model]]\npath = \"b\"\ndtype = \"f16\"\n[model.limits]\n\
        body_bytes = 1\nrunning_rows = 129\n[limits]\nprompts = 0\n";
    let said = several(&[text]).unwrap_err();
    assert!(said.contains("my.toml: model[0].colour: unknown (there are: aliases, "), "{said}");
    assert!(said.contains("my.toml: model[1].dtype: must be one of auto, f32, bf16"), "{said}");
    assert!(
        said.contains("my.toml: model[1].limits.body_bytes: unknown (there are: overload_wait_percent, "),
        "{said}"
    );
    let out_of_order = "my.toml: model[1].limits.running_rows: limits.running_rows (129) must be at most";
    assert!(said.contains(out_of_order), "{said}");
    assert_eq!(said.matches("limits.prompts: must be between").count(), 1, "{said}");
    assert!(several(&["model = []"]).unwrap_err().contains("my.toml: model: must not be empty"));
    assert!(several(&["model = [1]"]).unwrap_err().contains("my.toml: model[0]: must be of type table, is integer"));
}

#[test]
fn a_command_of_one_model_refuses_several() {
    let configs = several(&["[[model]]\npath = \"a\"\n[[model]]\npath = \"b\""]).unwrap();
    let said = configs.check_only().unwrap_err().to_string();
    assert_eq!(said, "this command runs one model, and the settings name 2: a, b; name one with --model");
    several(&[""]).unwrap().check_only().unwrap();
}

#[test]
fn a_path_that_is_no_folder_and_looks_like_an_id_is_one_of_the_hub() {
    let model = resolve("[model]\npath = \"google/t5gemma-s-s-ul2@main2\"").model;
    let ModelSource::Hub(id) = &model.source else { panic!("{model:?}") };
    assert_eq!(
        (id.to_string().as_str(), model.served_name.as_str()),
        ("google/t5gemma-s-s-ul2@main2", "google/t5gemma-s-s-ul2")
    );
    // Tests run in the crate's folder, which has one of this name.
    let model = resolve("[model]\npath = \"src/config\"").model;
    assert_eq!((model.source, model.served_name.as_str()), (ModelSource::Checkpoint("src/config".into()), "config"));
}

#[test]
fn a_mounted_checkpoint_takes_the_place_of_the_demo_only() {
    // Tests run in the crate's folder, which has one of this name.
    let source = |text: &str| resolve(&format!("[model]\n{text}")).model.source;
    let mounted = |path: &str| ModelSource::Checkpoint(path.into());
    assert_eq!(source("mounted_path = \"src\""), mounted("src"));
    assert_eq!(source("mounted_path = \"missing\""), ModelSource::Demo);
    assert_eq!(source("mounted_path = \"src\"\npath = \"missing\""), mounted("missing"), "a path is never replaced");
    assert_eq!(source("mounted_path = \"src\"\nshape = \"s-s\""), ModelSource::Shape("s-s".into()));
}

#[test]
fn a_file_that_the_environment_names_lies_between_the_defaults_and_the_file_of_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let image = file("image.toml", "[server]\nhost = \"0.0.0.0\"\nport = 1\n");
    let own = file("own.toml", "[server]\nport = 2\n");
    let named = |path: PathBuf| {
        Environment::read(move |name| (name == "ENCDEC_CONFIG").then(|| path.to_string_lossy().into_owned()))
    };
    let configs = Configs::resolve(Some(&own), &named(image), Vec::new()).unwrap();
    assert_eq!((configs.first().server.host.as_str(), configs.first().server.port), ("0.0.0.0", 2));
    let missing = Configs::resolve(None, &named("/nowhere.toml".into()), Vec::new()).unwrap_err().to_string();
    assert_eq!(missing, "cannot read the configuration file /nowhere.toml");
    assert_eq!(Environment::read(|name| (name == "ENCDEC_CONFIG").then(String::new)), Environment::default());
}

#[test]
fn the_environment_of_huggingface_hub_wins_over_the_file() {
    let hub = |file: &str, variables: &[(&str, &str)]| {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let environment = Environment::read(variable);
        let layers = vec![layer(file), environment.layer()];
        Configs::from_layers(layers, &environment).unwrap().first().hub.clone()
    };
    let at = |path: &str| Some(PathBuf::from(path));
    assert_eq!(hub("", &[]).cache, None);
    let plain = hub("", &[("HOME", "/h")]);
    assert_eq!((plain.cache, plain.token_file), (at("/h/.cache/huggingface/hub"), at("/h/.cache/huggingface/token")));
    assert_eq!((plain.endpoint.as_str(), plain.offline, plain.token), ("https://huggingface.co", false, None));
    assert_eq!(hub("", &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]).cache, at("/c/huggingface/hub"));
    let file = "[hub]\nhome = \"/file\"\nendpoint = \"http://mirror/\"";
    let of_file = hub(file, &[("HOME", "/h")]);
    assert_eq!((of_file.cache, of_file.endpoint.as_str()), (at("/file/hub"), "http://mirror"));
    let variables =
        [("HF_HOME", "/e"), ("HF_ENDPOINT", "http://other"), ("HF_HUB_OFFLINE", "yes"), ("HF_TOKEN", " secret\n")];
    let of_environment = hub(file, &variables);
    assert_eq!((of_environment.cache, of_environment.token_file), (at("/e/hub"), at("/e/token")));
    assert_eq!((of_environment.endpoint.as_str(), of_environment.offline), ("http://other", true));
    assert_eq!(of_environment.token.as_ref().unwrap().secret(), "secret");
    assert!(!format!("{:?}", of_environment.token).contains("secret"), "a token is never printed");
    assert_eq!(hub("", &[("HF_HUB_CACHE", "/k"), ("HF_HOME", "/e"), ("HF_TOKEN_PATH", "/t")]).cache, at("/k"));
    assert!(!hub("[hub]\noffline = true", &[("HF_HUB_OFFLINE", "0")]).offline);
    let certificates = |file, variables| hub(file, variables).certificates;
    assert_eq!(certificates("[hub]\ncertificates = \"/own\"", &[]), at("/own"));
    let both = [("REQUESTS_CA_BUNDLE", "/requests"), ("SSL_CERT_FILE", "/ssl")];
    assert_eq!([certificates("", &both), certificates("", &both[1..])], [at("/requests"), at("/ssl")]);
    let proxies = hub("", &[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b"), ("NO_PROXY", "c")]).proxies;
    assert_eq!(proxies, Proxies { https: Some("http://b".to_owned()), exempt: "c".to_owned(), ..Proxies::default() });
    assert!(refusal("[hub]\nendpoint = \"hub\"").contains("hub.endpoint: must begin with http:// or https://"));
    for endpoint in ["https://me:secret@hub", "me:secret@hub", "ftp://secret@hub/x"] {
        let refused = refusal(&format!("[hub]\nendpoint = {endpoint:?}"));
        let said = "hub.endpoint: must name no user or password";
        assert!(refused.contains(said) && !refused.contains("secret"), "{refused}");
    }
    assert_eq!(hub("[hub]\nendpoint = \"https://mirror/a@b\"", &[]).endpoint, "https://mirror/a@b");
    let own = [("HOME", "/h"), ("HF_HOME", "~/e"), ("HF_TOKEN_PATH", "~other/t"), ("TRANSFORMERS_OFFLINE", "1")];
    let of_own = hub("", &own);
    assert_eq!((of_own.cache, of_own.token_file, of_own.offline), (at("/h/e/hub"), at("~other/t"), true));
    assert_eq!(hub("", &[("HOME", "/h"), ("HF_HUB_CACHE", "~")]).cache, at("/h"));
    assert!(!hub("", &[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
}
