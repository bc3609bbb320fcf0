//! Objectives: how a row becomes a source and a target.
//!
//! A [`Recipe`] is made once by the training run and used by `data::feed` for every row. Token ids only; a row's
//! denoising depends on seed, epoch and the row's number alone.

mod denoiser;
mod frame;
mod pieces;
mod recipe;

pub use recipe::{Ingredients, ModelTokens, Reader, Recipe};

pub(in crate::training) use recipe::{DrawKey, Text};
