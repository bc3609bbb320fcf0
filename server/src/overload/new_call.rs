//! A call that asks for places in a model's queue.

use std::time::Duration;

use super::work::Work;
use crate::request::Caller;

/// A call that asks for places in the queue, with what is known of it before its texts are tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCall {
    /// Who makes it.
    pub caller: Caller,
    /// Its sequences (each beam of a search counts), or its encoder requests.
    pub rows: u32,
    /// The most that all of them take together.
    pub work: Work,
    /// The least that its first sequence takes: its source, and the target tokens that no end token can spare.
    pub least: Work,
    /// Time until its deadline, if it has one.
    pub time_left: Option<Duration>,
    /// It waits for as long as it must: it is refused only if there are no places.
    pub is_patient: bool,
}

impl NewCall {
    /// A call of this program's own, which waits for as long as it must.
    pub fn patient(caller: Caller, rows: u32) -> Self {
        Self { caller, rows, is_patient: true, ..Self::default() }
    }
}
