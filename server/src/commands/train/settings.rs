//! Reads `train.toml` into the settings of a run. One error names all keys that cannot be used.
//!
//! Called by the command. `model` defines the keys; paths are relative to the file, and checkpoints may be of the hub.

use std::path::{Path, PathBuf};

use model::input;
use model::training::Settings;
use toml::Table;

use super::problems::deserialize;
use crate::config::{CheckpointName, HubConfig};
use crate::hub::{HubError, folder_of};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not valid TOML.
    #[error("{} is not valid TOML: line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, counted from 1.
        line: usize,
        /// The parser's message.
        message: String,
    },
    /// Keys or values cannot be used; all of them are listed.
    #[error("{} cannot be used: {}", path.display(), problems.join("; "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// At least one problem, each naming its key.
        problems: Vec<String>,
    },
    /// A checkpoint cannot be had from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Reads the file; paths in it are resolved against its folder, and checkpoints of the hub fetched.
///
/// # Errors
/// One error that names every unknown key, wrong type, missing key and unusable value; or that of a checkpoint that
/// cannot be had.
pub(super) fn read(path: &Path, hub: &HubConfig) -> Result<Settings, SettingsError> {
    let text = input::read_settings(path);
    let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    let text = text.map_err(unreadable)?;
    // A run resumes only with the paths that it began with, so they must not depend on the current folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(unreadable)?;
    let mut settings = parse(path, &text)?;
    resolve(&mut settings, &folder, hub)?;
    Ok(settings)
}

fn parse(path: &Path, text: &str) -> Result<Settings, SettingsError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text[..start].matches('\n').count();
        SettingsError::Syntax { path: path.to_owned(), line, message: error.message().to_owned() }
    })?;
    let invalid = |problems| SettingsError::Invalid { path: path.to_owned(), problems };
    let settings = deserialize(table).map_err(invalid)?;
    match settings.check() {
        Ok(()) => Ok(settings),
        Err(model::training::Error::Settings { problems }) => Err(invalid(problems)),
        Err(other) => Err(invalid(vec![other.to_string()])),
    }
}

fn resolve(settings: &mut Settings, folder: &Path, hub: &HubConfig) -> Result<(), HubError> {
    let Settings { out, model, data, distillation, .. } = settings;
    let own = [&mut model.config, &mut model.tokenizer, &mut data.cache].into_iter().flatten();
    let paths = own.chain([out]).chain(&mut data.train).chain(&mut data.valid);
    // `join` keeps a path that is absolute.
    paths.for_each(|path| *path = folder.join(&*path));
    let teacher = distillation.as_mut().map(|distillation| &mut distillation.teacher);
    for checkpoint in model.init.iter_mut().chain(teacher) {
        *checkpoint = folder_of(hub, &CheckpointName::within(folder, checkpoint))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use toml::Value;

    use super::*;
    use crate::config::Config;

    const LEAST: &str = "out = 'run'\n[model]\ninit = 'init'\n[objective]\nkind = 'seq2seq'\n\
                         [data]\ntrain = ['a.jsonl']\n[[stage]]\nsteps = 10\nlearning_rate = 1e-3\n";

    /// Settings of the hub that are never used: no checkpoint of these tests is one of the hub.
    fn hub() -> HubConfig {
        Config::from_layers(Vec::new()).unwrap().hub
    }

    fn problems(text: &str) -> Vec<String> {
        match parse(Path::new("train.toml"), text).unwrap_err() {
            SettingsError::Invalid { problems, .. } => problems,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn paths_are_relative_to_the_files_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().canonicalize().unwrap();
        let path = folder.join("train.toml");
        let more = LEAST.replace("['a.jsonl']", "['a.jsonl', '/b.jsonl']\nvalid = ['../v.jsonl']\ncache = 'c'");
        fs::write(&path, format!("{more}[distillation]\nteacher = 't'\n")).unwrap();
        let settings = read(&path, &hub()).unwrap();
        assert_eq!(settings.out, folder.join("run"));
        assert_eq!(settings.model.init, Some(folder.join("init")));
        assert_eq!(settings.model.tokenizer, None);
        assert_eq!(settings.data.train, [folder.join("a.jsonl"), "/b.jsonl".into()]);
        assert_eq!(settings.data.valid, [folder.join("../v.jsonl")]);
        assert_eq!(settings.data.cache, Some(folder.join("c")));
        assert_eq!(settings.distillation.unwrap().teacher, folder.join("t"));
    }

    #[test]
    fn checkpoints_that_are_ids_become_the_folders_of_their_commits() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().canonicalize().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let snapshot = folder.join("cache/models--org--tiny/snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        for name in ["config.json", "model.safetensors"] {
            fs::write(snapshot.join(name), "").unwrap();
        }
        let hub = HubConfig { cache: Some(folder.join("cache")), offline: true, ..hub() };
        let path = folder.join("train.toml");
        let text = LEAST.replace("'init'", &format!("'org/tiny@{commit}'"));
        fs::write(&path, format!("{text}[distillation]\nteacher = 'org/tiny@{commit}'\n")).unwrap();
        let settings = read(&path, &hub).unwrap();
        assert_eq!(settings.model.init.as_ref(), Some(&snapshot));
        assert_eq!(settings.distillation.unwrap().teacher, snapshot);
        fs::write(&path, LEAST.replace("'init'", "'org/none'")).unwrap();
        let said = read(&path, &hub).unwrap_err().to_string();
        assert!(said.starts_with("org/none is not in "), "{said}");
        fs::create_dir_all(folder.join("org/none")).unwrap();
        assert_eq!(read(&path, &hub).unwrap().model.init, Some(folder.join("org/none")), "a folder wins");
    }

    #[test]
    fn the_same_file_gives_the_same_paths_however_it_is_named() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("inner")).unwrap();
        let path = place.path().join("train.toml");
        fs::write(&path, LEAST).unwrap();
        assert_eq!(read(&place.path().join("inner/../train.toml"), &hub()).unwrap(), read(&path, &hub()).unwrap());
    }

    #[test]
    fn every_key_that_cannot_be_used_is_named_at_once() {
        let text = "sede = 1\nthreads = 'two'\ndevice = 'tpu'\n[model]\ninit = 3\ndropuot = 0.1\n[objective]\n\
                    kind = 'seq2seq'\nseparator = 3\n[data]\nbatch_tokens = -1\n[[stage]]\nsteps = 'ten'\n";
        let found = problems(text);
        let parts = [
            "sede: unknown field `sede`, expected one of",
            "threads: invalid type: string \"two\"",
            "device: unknown variant `tpu`, expected `cpu` or `cuda`",
            "model.init: invalid type: integer `3`",
            "model.dropuot: unknown field `dropuot`",
            "objective: invalid type: integer `3`, expected a string",
            "data.batch_tokens: invalid value: integer `-1`",
            "data.train: is missing",
            "stage[0].steps: invalid type: string \"ten\"",
            "stage[0].learning_rate: is missing",
            "out: is missing",
        ];
        assert_eq!(found.len(), parts.len(), "{found:#?}");
        for part in parts {
            assert!(found.iter().any(|problem| problem.starts_with(part)), "{part}: {found:#?}");
        }
    }

    #[test]
    fn missing_sections_are_named_each() {
        let found = problems("");
        let parts = ["out: is missing", "model: is missing", "objective: is missing", "data: is missing"];
        for part in parts {
            assert!(found.iter().any(|problem| problem == part), "{part}: {found:#?}");
        }
    }

    #[test]
    fn values_that_the_run_refuses_are_named_too() {
        let found = problems(&LEAST.replace("1e-3", "-1e-3\nfinal_fraction = 2.0"));
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("learning_rate must be") && found[1].contains("final_fraction must be"), "{found:?}");
    }

    #[test]
    fn a_mistake_in_the_syntax_has_its_line() {
        let error = parse(Path::new("train.toml"), "out = 'a'\nseed = = 1\n").unwrap_err().to_string();
        assert!(error.starts_with("train.toml is not valid TOML: line 2: "), "{error}");
    }

    /// All keys: those of settings in which everything is set, with every objective.
    fn keys() -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for objective in [
            "kind = 'ul2'\nmix = 'ul2'\nmode_tokens = []",
            "kind = 'seq2seq'",
            "kind = 'classify'",
            "kind = 'causal'",
            "kind = 'prefix_lm'",
        ] {
            let model = "[model]\ninit = 'i'\nconfig = 'c'\ntokenizer = 't'";
            let data = "[data]\ntrain = ['a']\nvalid = ['b']\ncache = 'c'";
            let text = format!(
                "out = 'o'\ncross_attention_warmup_steps = 1\n{model}\n[objective]\n{objective}\n{data}\n\
                 [distillation]\nteacher = 't'\n[[stage]]\nsteps = 1\nlearning_rate = 1.0\n"
            );
            let settings = deserialize(text.parse().unwrap()).unwrap();
            collect("", &Value::try_from(settings).unwrap(), &mut keys);
        }
        keys
    }

    fn collect(prefix: &str, value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => {
                for (name, value) in table {
                    let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    collect(&key, value, keys);
                }
            }
            Value::Array(list) if list.iter().any(Value::is_table) => {
                list.iter().for_each(|value| collect(prefix, value, keys));
            }
            _ => {
                keys.insert(prefix.to_owned());
            }
        }
    }

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_page_documents_every_key_and_no_other() {
        let page = fs::read_to_string(repository().join("docs/training.md")).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let after_keys = page.find("\n## Keys\n").unwrap();
        let documented: BTreeSet<String> = rows
            .filter(|(name, _)| page.find(&format!("| `{name}` |")).unwrap() > after_keys)
            .map(|row| row.0.into())
            .collect();
        assert_eq!(documented, keys());
    }

    #[test]
    fn every_example_can_be_used_and_each_objective_has_one() {
        let mut kinds = BTreeSet::new();
        for folder in ["examples/training", "examples/debian-synopsis"] {
            for entry in fs::read_dir(repository().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    let settings = read(&path, &hub()).unwrap();
                    let objective = Value::try_from(settings.objective).unwrap();
                    kinds.insert(objective["kind"].as_str().unwrap().to_owned());
                }
            }
        }
        assert_eq!(kinds, ["causal", "classify", "prefix_lm", "seq2seq", "ul2"].map(str::to_owned).into());
    }

    #[test]
    fn the_least_file_of_the_page_can_be_used() {
        let page = fs::read_to_string(repository().join("docs/training.md")).unwrap();
        let lines = page.lines().skip_while(|line| *line != "    out = \"run\"");
        let text: Vec<&str> = lines.take_while(|line| line.is_empty() || line.starts_with("    ")).collect();
        parse(Path::new("train.toml"), &text.join("\n")).unwrap();
    }
}
