//! Reads settings one by one, checks them, and collects all problems.
//!
//! Called by `config`. Knows the kinds of checks, not which key needs which.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use toml::Value;

use super::error::KeyValue;
use super::layers::{Setting, Settings};
use super::{DEFAULTS_ORIGIN, Fault, Problem};

/// Checks settings. A refused one yields a placeholder value, and [`Reader::finish`] then fails.
pub(super) struct Reader {
    settings: Settings,
    unread: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Starts to read `settings`, adding to the known problems.
    pub(super) fn new(settings: Settings, problems: Vec<Problem>) -> Self {
        let unread = settings.keys().cloned().collect();
        Self { settings, unread, problems }
    }

    /// A whole number within `range`, all of which `T` can hold.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self, key: &'static str, range: RangeInclusive<i64>) -> T {
        let value = self.setting(key).value.as_integer().expect("the defaults give integer keys integer values");
        let (least, most) = (*range.start(), *range.end());
        if !range.contains(&value) {
            self.refuse(key, Fault::OutOfRange { value, least, most });
        }
        let Ok(number) = T::try_from(value.clamp(least, most)) else {
            unreachable!("{key}: the type holds every number of {least} to {most}");
        };
        number
    }

    /// A boolean.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.setting(key).value.as_bool().expect("the defaults give flags boolean values")
    }

    /// Different whole numbers within `range`, from the smallest up.
    pub(super) fn ascending(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Vec<usize> {
        let list = self.setting(key).value.as_array().expect("the defaults give lists a list").clone();
        let numbers: Vec<i64> = list.iter().filter_map(Value::as_integer).collect();
        let is_allowed = |number: &i64| range.contains(number);
        if numbers.len() < list.len() || !numbers.iter().all(is_allowed) || !numbers.is_sorted_by(|a, b| a < b) {
            self.refuse(key, Fault::NotAscending { least: *range.start(), most: *range.end() });
            return Vec::new();
        }
        numbers.into_iter().filter_map(|number| usize::try_from(number).ok()).collect()
    }

    /// A list of nonempty strings.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let list = self.setting(key).value.as_array().expect("the defaults give lists a list").clone();
        let texts: Vec<_> = list.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect();
        if texts.len() < list.len() {
            self.refuse(key, Fault::NotTexts);
            return Vec::new();
        }
        texts.into_iter().map(str::to_owned).collect()
    }

    /// A string, unchecked.
    pub(super) fn text(&mut self, key: &'static str) -> String {
        let Value::String(text) = &self.setting(key).value else {
            unreachable!("the defaults give text keys text values");
        };
        text.clone()
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> T {
        let value = self.text(key);
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == value) {
            return *chosen;
        }
        self.refuse(key, Fault::NotOneOf { value, choices: choices.iter().map(|(name, _)| *name).collect() });
        choices.first().expect("a choice has at least one name").1
    }

    /// Records that `smaller` exceeds `larger`, unless one of them is refused already.
    pub(super) fn ordered(&mut self, smaller: KeyValue, larger: KeyValue) {
        let names = [smaller, larger].map(|key| self.settings[key.key].name.as_str());
        let known = |problem: &Problem| names.contains(&problem.key.as_str());
        if smaller.value <= larger.value || self.problems.iter().any(known) {
            return;
        }
        // The problem is attributed to a value that was set, not to a default.
        let blamed = if self.is_set(smaller.key) { smaller.key } else { larger.key };
        self.refuse(blamed, Fault::OutOfOrder { smaller, larger });
    }

    /// Records that the value of `key` cannot be used. What concerns all models is recorded once.
    pub(super) fn refuse(&mut self, key: &'static str, fault: Fault) {
        let Setting { origin, name, .. } = &self.settings[key];
        let problem = Problem { origin: origin.clone(), key: name.clone(), fault };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether any layer but the defaults set `key`.
    pub(super) fn is_set(&self, key: &'static str) -> bool {
        self.settings[key].origin != DEFAULTS_ORIGIN
    }

    /// The problems found, and the keys that were not read.
    pub(super) fn finish(self) -> (Vec<Problem>, BTreeSet<String>) {
        (self.problems, self.unread)
    }

    fn setting(&mut self, key: &'static str) -> &Setting {
        self.unread.remove(key);
        self.settings.get(key).unwrap_or_else(|| unreachable!("{key} is a key of the embedded config.toml"))
    }
}
