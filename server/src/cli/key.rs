//! Flags of `server key`.

use clap::Args;

use crate::access::KeyName;

/// The key to make.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct KeyOptions {
    /// Name of the key in logs and metrics: letters, digits, '.', '_' and '-'.
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: KeyName,
}

fn name(text: &str) -> Result<KeyName, String> {
    KeyName::new(text).ok_or_else(|| "give 1 to 64 letters, digits, '.', '_' and '-'".to_owned())
}
