//! The list of served models: found by name, asked all together.

use std::sync::Arc;
use std::time::Duration;

use super::served_model::ServedModel;
use crate::overload::Visitor;
use crate::request::Refusal;

/// The models that a server answers with: at least one, each with a name of its own.
#[derive(Debug)]
pub struct ModelRegistry {
    models: Vec<Arc<ServedModel>>,
}

/// Why models cannot be served together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no model.
    #[error("there is no model to serve")]
    NoModel,
    /// Two models have the same name or alias.
    #[error("two models are called `{name}`: give each names of its own")]
    NameTaken {
        /// The name.
        name: String,
    },
}

impl ModelRegistry {
    /// A registry of `models`. The first one is the default.
    ///
    /// # Errors
    /// When there is none, or two have the same name or alias.
    pub fn new(models: Vec<ServedModel>) -> Result<Self, RegistryError> {
        Self::check_names(&models.iter().flat_map(ServedModel::names).collect::<Vec<_>>())?;
        Ok(Self { models: models.into_iter().map(Arc::new).collect() })
    }

    /// Checks whether models of these names and aliases can be served together, before any of them is started.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check_names(names: &[&str]) -> Result<(), RegistryError> {
        if names.is_empty() {
            return Err(RegistryError::NoModel);
        }
        let taken = (0..names.len()).find(|&index| names[..index].contains(&names[index]));
        taken.map_or(Ok(()), |index| Err(RegistryError::NameTaken { name: names[index].to_owned() }))
    }

    /// The model that answers requests which name none.
    pub fn default_model(&self) -> &Arc<ServedModel> {
        &self.models[0]
    }

    /// The model with this name or alias.
    pub fn find(&self, name: &str) -> Option<&Arc<ServedModel>> {
        self.models.iter().find(|model| model.is_called(name))
    }

    /// The only model, unless there are several.
    pub fn only(&self) -> Option<&Arc<ServedModel>> {
        if let [only] = self.models.as_slice() { Some(only) } else { None }
    }

    /// All models, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ServedModel>> {
        self.models.iter()
    }

    /// Names of all models, in their order.
    pub fn names(&self) -> Vec<String> {
        self.models.iter().map(|model| model.name.clone()).collect()
    }

    /// Checks whether there is a place for a request in the queue of the model with this name; if nobody knows which
    /// model it is for, in any queue.
    ///
    /// # Errors
    /// The model's [`Refusal`], or the default model's, when there is none. It counts for that model alone.
    pub fn check_vacancy_for(&self, name: Option<&str>, visitor: &Visitor) -> Result<(), Refusal> {
        let named = name.and_then(|name| self.find(name));
        if named.is_none() && self.models.iter().any(|model| model.engine.has_vacancy(visitor)) {
            return Ok(());
        }
        named.unwrap_or_else(|| self.default_model()).engine.check_vacancy(visitor)
    }

    /// Makes all engines refuse new requests and end when their work is done.
    pub fn drain(&self) {
        self.models.iter().for_each(|model| model.engine.drain());
    }

    /// Whether any engine refuses new requests.
    pub fn is_draining(&self) -> bool {
        self.models.iter().any(|model| model.engine.is_draining())
    }

    /// Time since the engine that has been silent for longest last showed that it lives.
    pub fn longest_silence(&self) -> Duration {
        self.models.iter().map(|model| model.engine.silence()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::longest_token::LongestToken;
    use super::*;
    use crate::chat_template::ChatTemplate;
    use crate::engine::MaskLimits;
    use crate::engine::{EngineHandle, EngineLimits};
    use crate::job_pool::JobPool;
    use crate::overload::WaitLimits;
    use crate::request::{RequestDefaults, Shed};
    use crate::scheduler::{PoolSize, SchedulerLimits};
    use crate::telemetry::Metrics;
    use model::{EncoderCost, PagePieces};

    fn model(name: &str, queued_rows: u32) -> ServedModel {
        let steps = SchedulerLimits {
            pool: PoolSize { pages: 8, source_page_tokens: 16, pieces: PagePieces::ONE },
            running_rows: 1,
            call_rows: 1,
            step_rows: 1,
            step_encoder_tokens: 1,
            draft_rows: 0,
            encoder: EncoderCost::undivided(1),
        };
        let limits = EngineLimits {
            queued_rows,
            wait: WaitLimits::default(),
            source_tokens: 8,
            target_tokens: 8,
            classes: 0,
            writes_alone: false,
            exact_steps: 0,
            masks: MaskLimits::default(),
            steps,
        };
        ServedModel {
            name: name.to_owned(),
            aliases: Vec::new(),
            created: 0,
            // Nothing is submitted here.
            engine: EngineHandle::new(channel().0, limits),
            tokenizer: None,
            longest_token: LongestToken::of(None),
            compiler: None,
            chat: ChatTemplate::plain(1000),
            tokenizing: JobPool::new(1),
            source_vocab: 10,
            target_vocab: 10,
            start_token: 2,
            end_tokens: Vec::new(),
            defaults: RequestDefaults::default(),
            named_defaults: Vec::new(),
            infilling: None,
            encoder_width: 1,
            labels: Vec::new(),
            metrics: Metrics::of_models(&[name]).model(name),
        }
    }

    #[test]
    fn models_are_found_by_their_names_and_the_first_is_the_default() {
        let registry = ModelRegistry::new(vec![model("a", 1), model("b", 1)]).unwrap();
        assert_eq!(registry.default_model().name, "a");
        assert_eq!(registry.find("b").unwrap().name, "b");
        assert!(registry.find("c").is_none() && registry.only().is_none());
        assert_eq!(registry.names(), ["a", "b"]);
        assert_eq!(ModelRegistry::new(vec![model("a", 1)]).unwrap().only().unwrap().name, "a");
    }

    #[test]
    fn a_registry_has_a_model_and_no_name_twice() {
        assert_eq!(ModelRegistry::new(Vec::new()).unwrap_err(), RegistryError::NoModel);
        let twice = ModelRegistry::new(vec![model("a", 1), model("b", 1), model("a", 1)]);
        assert_eq!(twice.unwrap_err(), RegistryError::NameTaken { name: "a".to_owned() });
    }

    #[test]
    fn a_model_is_found_by_its_aliases_which_no_other_model_may_have() {
        let called = |name, aliases: &[&str]| ServedModel {
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            ..model(name, 1)
        };
        let registry = ModelRegistry::new(vec![called("a", &["x", "y"]), called("b", &["z"])]).unwrap();
        assert_eq!(["x", "y", "z"].map(|alias| registry.find(alias).unwrap().name.as_str()), ["a", "a", "b"]);
        assert_eq!(registry.names(), ["a", "b"], "each model once");
        for (first, second) in [(["x"], ["x"]), (["b"], ["x"]), (["a"], ["x"])] {
            let clash = ModelRegistry::new(vec![called("a", &first), called("b", &second)]);
            assert!(matches!(clash, Err(RegistryError::NameTaken { .. })), "{first:?} {second:?}");
        }
    }

    #[test]
    fn there_is_room_as_long_as_the_queue_has_room_or_any_queue_for_an_unknown_model() {
        let full = Refusal::Shed(Shed::full(0));
        let registry = |second| ModelRegistry::new(vec![model("a", 0), model("b", second)]).unwrap();
        let visitor = Visitor::default();
        assert_eq!(registry(1).check_vacancy_for(None, &visitor), Ok(()));
        assert_eq!(registry(1).check_vacancy_for(Some("nobody"), &visitor), Ok(()));
        assert_eq!(registry(0).check_vacancy_for(None, &visitor), Err(full));
        assert_eq!(registry(1).check_vacancy_for(Some("b"), &visitor), Ok(()));
        assert_eq!(registry(1).check_vacancy_for(Some("a"), &visitor), Err(full));
    }

    #[test]
    fn all_engines_drain_together() {
        let registry = ModelRegistry::new(vec![model("a", 1), model("b", 1)]).unwrap();
        assert!(!registry.is_draining());
        registry.find("b").unwrap().engine.drain();
        assert!(registry.is_draining() && !registry.default_model().engine.is_draining());
        registry.drain();
        assert!(registry.iter().all(|model| model.engine.is_draining()));
    }
}
