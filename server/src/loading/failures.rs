//! Errors of several models at once, so that one does not hide the others.

use std::fmt;

use super::error::LoadError;
use crate::process::causes::with_causes;

/// Errors of some of the models, each under its model's name.
#[derive(Debug)]
pub struct Failures {
    failed: Vec<String>,
    models: usize,
}

impl fmt::Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed, models } = self;
        write!(formatter, "{} of {models} models cannot be served: {}", failed.len(), failed.join("; "))
    }
}

/// The result of one model.
pub struct OfModel<T> {
    /// Its name.
    pub name: String,
    /// Its value or its error.
    pub result: Result<T, LoadError>,
}

/// All results, which are asked for in turn whatever became of those before.
///
/// # Errors
/// The error of the only model, or all errors of several.
pub fn all_of<T>(results: impl ExactSizeIterator<Item = OfModel<T>>) -> Result<Vec<T>, LoadError> {
    let models = results.len();
    let (mut done, mut failed) = (Vec::with_capacity(models), Vec::new());
    for OfModel { name, result } in results {
        match result {
            Ok(value) => done.push(value),
            Err(error) if models == 1 => return Err(error),
            Err(error) => failed.push(format!("`{name}`: {}", with_causes(&error))),
        }
    }
    if failed.is_empty() { Ok(done) } else { Err(LoadError::Several(Failures { failed, models })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_model(name: &str, is_good: bool) -> OfModel<u32> {
        let failed = || LoadError::NoTokenizer { origin: format!("/{name}") };
        OfModel { name: name.to_owned(), result: is_good.then_some(7).ok_or_else(failed) }
    }

    #[test]
    fn every_failure_is_told_under_the_name_of_its_model() {
        let said =
            all_of([("a", false), ("b", true), ("c", false)].map(|(name, good)| of_model(name, good)).into_iter());
        let said = said.unwrap_err().to_string();
        assert!(said.starts_with("2 of 3 models cannot be served: `a`: /a holds no tokenizer.json: "), "{said}");
        assert!(said.contains("; `c`: /c holds no tokenizer.json: "), "{said}");
    }

    #[test]
    fn the_only_model_fails_with_its_own_error_and_models_that_do_not_fail_are_all_there() {
        let alone = all_of([of_model("a", false)].into_iter()).unwrap_err();
        assert!(matches!(alone, LoadError::NoTokenizer { .. }));
        assert_eq!(all_of([of_model("a", true), of_model("b", true)].into_iter()).unwrap(), [7, 7]);
    }
}
