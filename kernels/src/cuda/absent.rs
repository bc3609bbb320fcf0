//! The driver of a program that was built without CUDA.
//!
//! Replaces `driver`, so that callers need not know how the program was built.
#![allow(unsafe_code)]

use std::time::Duration;

use super::device::{Device, Work};
use crate::backend::{Error, Result};

/// A GPU that this program cannot open.
#[derive(Debug, Clone)]
pub enum Driver {}

/// Whether [`Driver::open`] would find a GPU: never.
pub const fn is_present() -> bool {
    false
}

impl Driver {
    /// Opens nothing.
    ///
    /// # Errors
    /// Always, since the program was built without CUDA.
    pub fn open(_: usize) -> Result<Self> {
        Err(Error::NoGpu { reason: "this program was built without the feature `cuda`".into() })
    }
}

impl Device for Driver {
    type Graph = ();
    type Fetch = ();

    fn describe(&self) -> String {
        match *self {}
    }
    fn fork(&self) -> Result<Self> {
        match *self {}
    }
    fn follow(&self, _: &Self) {
        match *self {}
    }
    fn allocate(&self, _: usize, _: &'static str) -> Result<u64> {
        match *self {}
    }
    unsafe fn free(&self, _: u64) {
        match *self {}
    }
    unsafe fn write(&self, _: &[u8], _: u64) {
        match *self {}
    }
    unsafe fn read(&self, _: u64, _: &mut [u8]) {
        match *self {}
    }
    unsafe fn copy(&self, _: u64, _: u64, _: usize) {
        match *self {}
    }
    unsafe fn fetch(&self, _: u64, _: usize) {
        match *self {}
    }
    fn finish(&self, (): ()) -> Vec<u8> {
        match *self {}
    }
    fn wait(&self) {
        match *self {}
    }
    unsafe fn run(&self, _: &Work) {
        match *self {}
    }
    unsafe fn run_timed(&self, _: &[Work]) -> Vec<Duration> {
        match *self {}
    }
    unsafe fn fastest(&self, _: &[Work]) -> usize {
        match *self {}
    }
    unsafe fn capture(&self, _: &[Work]) {
        match *self {}
    }
    unsafe fn replay(&self, (): &()) {
        match *self {}
    }
}
