//! `server generate`: one continuation, streamed to standard output.
//!
//! Called by `main`. The request goes through the same engine as requests over HTTP.

use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::sync::Arc;

use kernels::Sampling;

use super::answer_form;
use super::error::{CommandError, io};
use crate::cli::GenerateOptions;
use crate::config::Config;
use crate::loading::load;
use crate::process::resources::{ENGINE_THREADS, check_command};
use crate::process::terminal::say;
use crate::request::{BeamSearch, EarlyStopping, GenerationEvent, GenerationRequest, Salt, sampling_temperature};

/// Writes the continuation and a newline.
///
/// # Errors
/// When the model cannot be loaded, the prompt cannot be used, or standard output is closed.
pub fn generate(config: &Config, options: &GenerateOptions) -> Result<(), CommandError> {
    check_command(config.model.threads + ENGINE_THREADS)?;
    let prompt = if options.continued.is_some() { String::new() } else { prompt(options)? };
    let loaded = load(config)?;
    let limits = loaded.limits(config)?;
    let tokenizer = loaded.tokenizer.clone().ok_or(CommandError::NoTokenizer)?;
    let constraint = answer_form::compile(&options.form, &loaded)?;
    let request = match &options.continued {
        Some(_) if !limits.writes_alone => return Err(CommandError::NeedsSource),
        Some(text) => GenerationRequest { decoder_prompt: tokenizer.encode(text)?, ..request(Vec::new(), options)? },
        None => request(some_tokens(tokenizer.encode_with_special_tokens(&prompt)?)?, options)?,
    };
    let controls = Arc::new(loaded.defaults.controls.clone().in_order());
    let request = GenerationRequest { controls, constraint, exact_steps: limits.exact_steps, ..request };
    let engine = loaded.start(limits, Arc::default())?;
    engine.handle.check(request.lengths())?;
    let slot = engine.handle.reserve(Salt::default(), options.beams.unwrap_or(1))?;
    let mut generation = engine.handle.submit(slot, request)?;
    let mut detokenizer = tokenizer.detokenizer();
    let mut out = stdout().lock();
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Token { id, .. } => {
                out.write_all(detokenizer.push(id).as_bytes()).map_err(io("write the answer"))?;
                out.flush().map_err(io("write the answer"))?;
            }
            GenerationEvent::Failed { message, .. } => return Err(CommandError::Failed { message }),
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Scored { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Rated { .. }
            | GenerationEvent::Finished { .. } => {}
        }
    }
    writeln!(out, "{}", detokenizer.finish()).map_err(io("write the answer"))?;
    engine.handle.drain();
    engine.join();
    Ok(())
}

fn prompt(options: &GenerateOptions) -> Result<String, CommandError> {
    if let Some(prompt) = options.prompt.as_ref().filter(|prompt| *prompt != "-") {
        return Ok(prompt.clone());
    }
    if stdin().is_terminal() {
        say("type the source text, then Ctrl-D");
    }
    let mut text = String::new();
    stdin().read_to_string(&mut text).map_err(io("read the prompt from standard input"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn some_tokens(source: Vec<u32>) -> Result<Vec<u32>, CommandError> {
    if source.is_empty() { Err(CommandError::EmptyPrompt) } else { Ok(source) }
}

fn request(source: Vec<u32>, options: &GenerateOptions) -> Result<GenerationRequest, CommandError> {
    let seed = options.seed.map_or_else(|| getrandom::u64().map_err(|error| io("draw a seed")(error.into())), Ok)?;
    let &GenerateOptions { top_p, top_k, .. } = options;
    let temperature = sampling_temperature(options.temperature);
    let sampling = Sampling { temperature, top_k, top_p, min_p: 0.0, seed };
    let search = |width| BeamSearch { width, length_penalty: 1.0, early_stopping: EarlyStopping::Unlikely };
    let beams = options.beams.map(search);
    Ok(GenerationRequest { sampling, beams, ..GenerationRequest::new(source, options.max_tokens) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::AnswerForm;

    #[test]
    fn a_temperature_that_is_almost_nothing_takes_the_most_probable_token_as_over_http() {
        let sampled = |temperature| {
            let (seed, beams, form) = (Some(1), None, AnswerForm::default());
            let (prompt, continued, top_p, top_k) = (None, None, 1.0, 0);
            let options =
                GenerateOptions { prompt, continued, max_tokens: 1, temperature, top_p, top_k, seed, beams, form };
            request(vec![5], &options).unwrap().sampling.temperature
        };
        assert_eq!([0.0, 1e-45, 9.9e-6, 1e-5, 0.5].map(sampled), [0.0, 0.0, 0.0, 1e-5, 0.5]);
    }
}
