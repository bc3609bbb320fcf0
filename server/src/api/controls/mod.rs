//! Controls: the fields of generating endpoints that say which tokens may be chosen, read, checked and turned into what
//! the engine keeps to.
//!
//! Read by the rooms of endpoints; `generation` tokenises the words and lays the fields over the checkpoint's defaults.

mod bad_words;
mod declared;
mod draft;
mod given;
mod ids;
mod logit_bias;
mod settled;

pub use bad_words::word_ids;
pub use declared::{CONTROLS, STOP_TOKEN_IDS, STOP_TOKENS, STOP_TOKENS_OF_SEARCH};
pub use draft::ControlsDraft;
pub use given::GivenControls;
pub use settled::Settling;
