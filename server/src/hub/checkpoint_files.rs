//! Which files of a repository make a checkpoint that can be loaded.

use std::path::Path;

/// Files beside the weights; only the first is in every repository. Some of them are for the copies that `quantize`,
/// `adapt` and `train` write.
const BESIDE: [&str; 9] = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files to fetch of those that a repository has, small ones first and weights last. As in transformers, a single
/// file of weights wins over several.
///
/// # Errors
/// The file that is missing.
pub fn wanted<'a>(names: &[&'a str]) -> Result<Vec<&'a str>, &'static str> {
    let named = |wanted: &str| names.iter().copied().find(|name| *name == wanted);
    named(CONFIG).ok_or(CONFIG)?;
    let mut files: Vec<_> = BESIDE.into_iter().filter_map(named).collect();
    if let Some(single) = named(SINGLE) {
        files.push(single);
        return Ok(files);
    }
    let shards: Vec<_> = names.iter().copied().filter(|name| shards_of(name).is_some()).collect();
    let index = named(INDEX).filter(|_| !shards.is_empty()).ok_or("model.safetensors, nor an index of several")?;
    files.push(index);
    files.extend(shards);
    Ok(files)
}

/// Whether a folder holds all that is needed: a configuration and all weights.
pub fn are_enough(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has(CONFIG) && (has(SINGLE) || has(INDEX) && has_all_shards(folder))
}

/// Whether a folder holds what nearly every repository has.
pub fn are_usual(folder: &Path) -> bool {
    are_enough(folder) && folder.join(TOKENIZER).is_file()
}

fn has_all_shards(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let there = entries.flatten().filter(|entry| entry.path().is_file());
    let names: Vec<_> = there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut shards = names.iter().filter_map(|name| shards_of(name)).peekable();
    shards.peek().copied().is_some_and(|all| shards.count() == all)
}

/// Number of shards that the name of one tells: 3 of `model-00001-of-00003.safetensors`.
fn shards_of(name: &str) -> Option<usize> {
    let (number, all) = name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
    let parse = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (number, all): (usize, usize) = (parse(number)?, parse(all)?);
    (1..=all).contains(&number).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_repository_only_what_is_loaded_is_fetched() {
        let names =
            ["README.md", "model.safetensors", "config.json", "tokenizer.json", "onnx/model.safetensors", "x.bin"];
        assert_eq!(wanted(&names).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
        let names = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "config.json",
            "consolidated-00001-of-00002.safetensors",
            "model-00001-of-00002.bin",
        ];
        assert_eq!(
            wanted(&names).unwrap(),
            [
                "config.json",
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors"
            ]
        );
        assert_eq!(wanted(&["model.safetensors"]), Err("config.json"));
        assert!(wanted(&["config.json", "pytorch_model.bin"]).unwrap_err().starts_with("model.safetensors"));
        assert!(wanted(&["config.json", "model-00001-of-00001.safetensors"]).is_err(), "there is no index");
    }

    #[test]
    fn a_folder_is_enough_when_no_shard_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        put("config.json");
        put("model.safetensors.index.json");
        put("model-00001-of-00002.safetensors");
        assert!(!are_enough(folder.path()));
        put("model-00002-of-00002.safetensors");
        assert!(are_enough(folder.path()) && !are_usual(folder.path()));
        put("tokenizer.json");
        assert!(are_usual(folder.path()));
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        assert!(!are_enough(folder.path()));
    }
}
