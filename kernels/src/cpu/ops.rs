//! The ops of [`crate::Backend`] on the processor, one file for each of its nouns.

mod attention;
mod products;
mod rows;
mod sampling;
mod storage;
