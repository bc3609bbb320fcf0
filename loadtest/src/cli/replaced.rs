//! Which flags replace something that a scenario file says, so that this can be told.

use toml::Table;

use super::RunFlags;

/// Each flag that replaces keys of a scenario file, with these keys, in the order of `--help`.
pub fn replaced(flags: &RunFlags, file: &Table) -> Vec<String> {
    let kinds: Vec<&Table> = match file.get("requests").and_then(toml::Value::as_array) {
        Some(kinds) => kinds.iter().filter_map(toml::Value::as_table).collect(),
        None => Vec::new(),
    };
    let in_file = |path: &str| match path.strip_prefix("requests.") {
        Some(key) => kinds.iter().any(|kind| has(kind, key)),
        None => has(file, path),
    };
    let mut found = Vec::new();
    for (flag, is_given, keys) in pairs(flags, file) {
        let keys: Vec<String> = keys.into_iter().filter(|key| is_given && in_file(key)).collect();
        if !keys.is_empty() {
            found.push(format!("--{flag} ({})", keys.join(", ")));
        }
    }
    found
}

/// Whether a table has the key of this path.
fn has(table: &Table, path: &str) -> bool {
    match path.split_once('.') {
        None => table.contains_key(path),
        Some((name, rest)) => match table.get(name) {
            Some(toml::Value::Table(inner)) => has(inner, rest),
            Some(toml::Value::Array(list)) => {
                list.iter().filter_map(toml::Value::as_table).any(|inner| has(inner, rest))
            }
            _ => false,
        },
    }
}

/// Flags, whether they are given, and the keys that they replace.
fn pairs(flags: &RunFlags, file: &Table) -> Vec<(&'static str, bool, Vec<String>)> {
    let is_sweep = flags.sweep || file.contains_key("sweep");
    let mut pairs = Vec::new();
    let mut pair = |flag, is_given: bool, keys: &[&str]| {
        pairs.push((flag, is_given, keys.iter().map(|key| (*key).to_owned()).collect()));
    };
    pair("url", flags.url.is_some(), &["url"]);
    pair("model", flags.model.is_some(), &["model"]);
    pair("rate", flags.rate.is_some(), &[if is_sweep { "sweep.from" } else { "load.stages" }]);
    pair("arrivals", flags.arrivals.is_some(), &["load.arrivals"]);
    pair("burstiness", flags.burstiness.is_some(), &["load.burstiness"]);
    let makes_stages = flags.rate.is_none() && !is_sweep;
    pair("concurrency", flags.concurrency.is_some(), &[if makes_stages { "load.stages" } else { "load.concurrency" }]);
    let keeps_stages = makes_stages && flags.concurrency.is_none();
    let seconds = if is_sweep { "sweep.seconds" } else { "load.stages.seconds" };
    pair("duration", flags.duration.is_some() && (is_sweep || keeps_stages), &[seconds]);
    pair("requests", flags.requests.is_some(), &["load.requests"]);
    pair("sweep", flags.sweep, &["load.stages"]);
    pair("warmup", flags.warmup.is_some(), &["warmup_requests"]);
    pair("timeout", flags.timeout.is_some(), &["timeout_seconds"]);
    pair("seed", flags.seed.is_some(), &["seed"]);
    pair("endpoint", flags.endpoint.is_some(), &["requests.endpoint"]);
    pair("max-tokens", flags.max_tokens.is_some(), &["requests.max_tokens"]);
    pair("ignore-eos", flags.ignore_eos, &["requests.ignore_eos"]);
    pair("no-stream", flags.no_stream, &["requests.stream"]);
    pair("prompts", flags.prompts.is_some(), &["requests.prompts", "requests.ids"]);
    pair("source-tokens", flags.source_tokens.is_some(), &["requests.source_tokens"]);
    pair("ids", flags.ids.is_some(), &["requests.ids", "requests.prompts"]);
    pair("repeated", flags.repeated.is_some(), &["requests.repeated"]);
    pair("beams", flags.beams.is_some(), &["requests.beams"]);
    pair("schema", flags.schema.is_some(), &["requests.schema"]);
    let extra: Table = flags.extra.as_deref().and_then(|extra| serde_json::from_str(extra).ok()).unwrap_or_default();
    let extra: Vec<String> = extra.keys().map(|key| format!("requests.extra.{key}")).collect();
    pair("extra", true, &extra.iter().map(String::as_str).collect::<Vec<_>>());
    let goodput = flags.goodput.iter().filter_map(|limit| Some(format!("goodput.{}_ms", limit.split_once(':')?.0)));
    pair("goodput", true, &goodput.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    pair("metrics", flags.metrics.is_some(), &["metrics"]);
    pairs
}
