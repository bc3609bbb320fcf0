//! Values of the settings under `[limits]` that fields of bodies are checked against, by name.
//!
//! Made by `api::state`; the OpenAPI document and the tables of docs/api.md tell them.

/// Limits by the names of their settings.
#[derive(Debug, Clone)]
pub struct LimitValues(Vec<LimitValue>);

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitValue {
    /// Name of the setting under `[limits]`.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
}

impl LimitValues {
    /// These limits.
    pub fn new(limits: impl IntoIterator<Item = LimitValue>) -> Self {
        Self(limits.into_iter().collect())
    }

    /// The value of a limit that a field names.
    pub fn get(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|limit| limit.name == name);
        found.expect("fields name limits that there are, which a test checks for all of them").value
    }

    /// The value of a limit, as a count of elements.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.get(name)).unwrap_or(usize::MAX)
    }

    /// A text with every `{name}` replaced by the value of that limit.
    pub fn fill(&self, text: &str) -> String {
        let replace = |text: String, limit: &LimitValue| match text.contains('{') {
            true => text.replace(&format!("{{{}}}", limit.name), &limit.value.to_string()),
            false => text,
        };
        self.0.iter().fold(text.to_owned(), replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_become_values_and_other_braces_stay() {
        let limits = LimitValues::new([LimitValue { name: "choices", value: 16 }]);
        assert_eq!(limits.fill("1 to {choices}, or `{\"type\": 1}`"), "1 to 16, or `{\"type\": 1}`");
        assert_eq!(limits.get("choices"), 16);
    }
}
