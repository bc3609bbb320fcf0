//! `server adapt`: an encoder-decoder made of decoder-only checkpoints, in a folder of its own.
//!
//! Called by `main`. `model` checks the sources and writes the files.

use model::adaptation::Summary;
use model::{AdaptRequest, Adaptation};

use super::error::CommandError;
use crate::cli::AdaptOptions;
use crate::config::Config;
use crate::hub::folder_of;
use crate::process::progress::LoadProgress;
use crate::process::resources::{check_command, cores};
use crate::process::terminal::show;

/// Writes the encoder-decoder, and prints what it is and how to go on.
///
/// # Errors
/// When a source cannot be had, or they do not fit each other, the folder is not empty, or a file cannot be read or
/// written.
pub fn adapt(config: &Config, options: &AdaptOptions) -> Result<(), CommandError> {
    check_command(cores())?;
    let AdaptOptions { encoder, decoder, tokenizer, out, seed } = options.clone();
    let [encoder, decoder] = [folder_of(&config.hub, &encoder)?, folder_of(&config.hub, &decoder)?];
    let request = AdaptRequest { encoder, decoder, tokenizer, out: out.clone(), seed };
    let adaptation = Adaptation::prepare(request)?;
    let progress = LoadProgress::new("adapting", adaptation.bytes());
    let summary = adaptation.write(&mut |bytes| progress.advance(bytes))?;
    progress.finish();
    show(&format!("{}: {}\n{}", out.display(), description(&summary, seed), next_step(&summary)));
    Ok(())
}

fn description(summary: &Summary, seed: u64) -> String {
    let Summary { parameters, bytes, copied, random, is_merged, .. } = summary;
    let cross_attention = if *is_merged {
        "merged attention has the weights of self-attention".to_owned()
    } else if *random == 0 {
        "with cross-attention copied from self-attention".to_owned()
    } else {
        format!("{random} of cross-attention drawn with seed {seed}")
    };
    format!("{parameters} parameters, {bytes} bytes; {copied} tensors copied, {cross_attention}")
}

fn next_step(summary: &Summary) -> &'static str {
    if summary.has_tokenizer {
        "It writes nothing sensible before it is trained: name it as model.init in a train.toml, \
         then `server train --config train.toml`"
    } else {
        "The sources have no tokenizer.json: rows to train on have to be token ids. \
         Name it as model.init in a train.toml, then `server train --config train.toml`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCED: Summary =
        Summary { parameters: 10, bytes: 20, copied: 30, random: 0, is_merged: false, has_tokenizer: true };

    #[test]
    fn what_was_made_is_said_with_its_size_and_the_origin_of_cross_attention() {
        let said = description(&BALANCED, 7);
        assert_eq!(said, "10 parameters, 20 bytes; 30 tensors copied, with cross-attention copied from self-attention");
        let said = description(&Summary { random: 12, copied: 18, ..BALANCED }, 7);
        assert_eq!(said, "10 parameters, 20 bytes; 18 tensors copied, 12 of cross-attention drawn with seed 7");
        let said = description(&Summary { is_merged: true, ..BALANCED }, 7);
        assert_eq!(
            said,
            "10 parameters, 20 bytes; 30 tensors copied, merged attention has the weights of self-attention"
        );
    }

    #[test]
    fn without_a_tokenizer_it_is_said_that_ids_are_needed() {
        assert!(!next_step(&BALANCED).contains("token ids"));
        assert!(next_step(&Summary { has_tokenizer: false, ..BALANCED }).contains("token ids"));
    }
}
