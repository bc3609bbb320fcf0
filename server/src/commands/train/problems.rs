//! Every problem of a settings table at once, where the parser stops at the first.
//!
//! Used by `settings`.

use model::training::Settings;
use serde_path_to_error::Segment;
use toml::{Table, Value};

/// Reads the table. To find every problem, it removes an unusable key or fills in a missing one, and reads again until
/// nothing is wrong.
pub(super) fn deserialize(table: Table) -> Result<Settings, Vec<String>> {
    let mut root = Value::Table(table);
    let (mut problems, mut removed) = (Vec::new(), Vec::new());
    loop {
        let error = match serde_path_to_error::deserialize::<_, Settings>(root.clone()) {
            Ok(settings) if problems.is_empty() => return Ok(settings),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path: Vec<Segment> = error.path().iter().cloned().collect();
        let message = error.inner().message();
        let place = error.path().to_string();
        let Some(missing) = missing_field(message) else {
            problems.push(format!("{place}: {message}"));
            if !remove(&mut root, &path) {
                return Err(problems);
            }
            removed.push(place);
            continue;
        };
        let name = if path.is_empty() { missing.to_owned() } else { format!("{place}.{missing}") };
        if !removed.contains(&name) {
            problems.push(format!("{name}: is missing"));
        }
        let parent = path.iter().try_fold(&mut root, |value, segment| step(value, segment));
        let Some((table, stand_in)) = parent.and_then(Value::as_table_mut).zip(stand_in(missing)) else {
            return Err(problems);
        };
        table.insert(missing.to_owned(), stand_in);
    }
}

/// The missing field that a message of serde names; serde tells it by no other means.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// A value for a missing key, so that reading can go on. Settings read so are not used.
fn stand_in(key: &str) -> Option<Value> {
    Some(match key {
        "model" | "data" => Value::Table(Table::new()),
        "objective" => Value::Table(Table::from_iter([("kind".to_owned(), "causal".into())])),
        "kind" => "causal".into(),
        "out" | "teacher" => "".into(),
        "train" => Value::Array(Vec::new()),
        "steps" => 1.into(),
        "learning_rate" => 1.0.into(),
        _ => return None,
    })
}

/// Removes the value at a path; returns whether there was one.
fn remove(root: &mut Value, path: &[Segment]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let parent = parents.iter().try_fold(root, |value, segment| step(value, segment));
    match (parent, last) {
        (Some(Value::Table(table)), Segment::Map { key }) => table.remove(key).is_some(),
        // Removing one entry would renumber those after it: they are checked once this one is mended.
        (Some(Value::Array(list)), Segment::Seq { index }) => {
            list.truncate(*index);
            true
        }
        _ => false,
    }
}

fn step<'a>(value: &'a mut Value, segment: &Segment) -> Option<&'a mut Value> {
    match segment {
        Segment::Map { key } => value.get_mut(key.as_str()),
        Segment::Seq { index } => value.get_mut(*index),
        _ => None,
    }
}
