//! Checkpoints from a hub on this machine, which does what a test says.

mod cache;
mod line;
mod refusals;
mod scripted_hub;
mod several_files;
mod way;

use std::path::{Path, PathBuf};
use std::time::Duration;

use scripted_hub::ScriptedHub;

use super::{HubError, fetch};
use crate::config::{HubConfig, HubId, HubToken, Proxies};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn id(text: &str) -> HubId {
    HubId::parse(text).unwrap()
}

/// Settings for a hub, with a cache in `folder`.
fn config(hub: &ScriptedHub, folder: &Path) -> HubConfig {
    HubConfig {
        cache: Some(folder.to_owned()),
        endpoint: hub.url().to_owned(),
        token: Some(HubToken::new("secret")),
        token_file: None,
        certificates: None,
        proxies: Proxies::default(),
        offline: false,
        // Nobody is silent for so long, however busy the machine is.
        timeout: Duration::from_secs(60),
        attempts: 3,
        downloads: 1,
    }
}

/// A file of the certificates of tests.
fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// The folder of a cache in which tests look.
fn repository(folder: &Path) -> PathBuf {
    folder.join("models--org--tiny")
}

fn refusal(hub: &ScriptedHub, folder: &Path) -> HubError {
    fetch(&config(hub, folder), &id("org/tiny")).unwrap_err()
}
