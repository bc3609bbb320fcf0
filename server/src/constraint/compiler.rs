//! Compiles what clients ask for: on trial first, then in this process, once for all who ask for it at once.
//!
//! Each served model has one, because a grammar is compiled over the model's tokens. Waiting clients that leave cost
//! nothing more; a trial that nobody waits for is ended.

use std::fmt;
use std::sync::{Arc, OnceLock};

use model::Tokenizer;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::form_cache::{FormCache, FormCacheLimits, FormKey};
use super::grammar::{Grammar, GrammarError};
use super::targets::{Targets, TargetsError};
use super::trial::Trials;
use super::vocabulary::Vocabulary;
use crate::job_pool::{JobFailed, JobPool};
use crate::request::{Constraint, Party};

/// A form that an answer must have, as a client asks for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Form {
    /// A text that a grammar describes.
    Grammar(Grammar),
    /// One of these texts.
    Targets(Vec<String>),
}

/// A form that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Its grammar.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Its texts.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// A thread of the server failed.
    #[error(transparent)]
    Failed(#[from] JobFailed),
}

/// Everything that a compiler works with.
#[derive(Debug, Clone)]
pub struct CompilerTools {
    /// Turns text into ids.
    pub tokenizer: Arc<Tokenizer>,
    /// Number of ids that the decoder knows.
    pub target_vocab: usize,
    /// Tokens that end a target, at least one.
    pub end_tokens: Vec<u32>,
    /// Bytes that an answer may take beyond those of its beginning.
    pub growth: usize,
    /// Where grammars are tried.
    pub trials: Trials,
    /// Threads that compile.
    pub threads: JobPool,
}

/// Compiles forms for one model.
pub struct FormCompiler {
    tools: CompilerTools,
    /// Made when the first form is compiled.
    vocabulary: Arc<OnceLock<Vocabulary>>,
    cache: FormCache,
}

/// A form that was compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledForm {
    /// The constraint.
    pub constraint: Constraint,
    /// Whether it was compiled before, or for another request.
    pub was_there: bool,
}

impl FormCompiler {
    /// A compiler that keeps forms within these limits.
    pub fn new(tools: CompilerTools, limits: FormCacheLimits) -> Self {
        Self { tools, vocabulary: Arc::default(), cache: FormCache::new(limits) }
    }

    /// The constraint that a form is, for this client. Who asks for a form that is being compiled waits for it.
    ///
    /// # Errors
    /// With the reason for which the form cannot be served.
    pub async fn compile(&self, form: &Form, client: &Party) -> Result<CompiledForm, FormError> {
        let text = serde_json::to_vec(form).expect("texts, numbers and lists serialise");
        let key: FormKey = Sha256::digest(&text).into();
        let mut was_there = true;
        let make = async {
            was_there = false;
            self.made(form.clone(), client).await
        };
        let constraint = self.cache.get_or_make(key, make).await?;
        Ok(CompiledForm { constraint, was_there })
    }

    /// Number of forms that are kept or being compiled.
    pub fn forms(&self) -> usize {
        self.cache.forms()
    }

    /// Bytes of memory of the forms that are kept, about.
    pub fn kept_bytes(&self) -> usize {
        self.cache.bytes()
    }

    async fn made(&self, form: Form, client: &Party) -> Result<Constraint, FormError> {
        if let Form::Grammar(grammar) = &form {
            self.tools.trials.pass(grammar, client).await?;
        }
        let (tools, vocabulary) = (self.tools.clone(), Arc::clone(&self.vocabulary));
        let make = move || {
            let CompilerTools { tokenizer, target_vocab, end_tokens, growth, .. } = &tools;
            let new = || Vocabulary::new(tokenizer, *target_vocab, end_tokens).with_growth(*growth);
            let vocabulary = vocabulary.get_or_init(new);
            match form {
                Form::Grammar(grammar) => grammar.compile(vocabulary).map_err(FormError::from),
                Form::Targets(texts) => Targets::compile(&texts, vocabulary).map_err(FormError::from),
            }
        };
        self.tools.threads.run(make).await?
    }
}

impl fmt::Debug for FormCompiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FormCompiler").field("cache", &self.cache).finish_non_exhaustive()
    }
}
