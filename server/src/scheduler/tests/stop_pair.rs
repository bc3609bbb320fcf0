//! A stop string over the fake model's ids: two of them, one after the other.

use crate::request::{StopCheck, StopScan};

#[derive(Debug, Clone)]
struct Scan {
    pair: [u32; 2],
    last: Option<u32>,
}

impl StopScan for Scan {
    fn fork(&self) -> Box<dyn StopScan> {
        Box::new(self.clone())
    }

    fn push(&mut self, token: u32) -> bool {
        self.last.replace(token) == Some(self.pair[0]) && token == self.pair[1]
    }
}

/// Ends a hypothesis with these ids.
pub fn stop_pair(pair: [u32; 2]) -> StopCheck {
    StopCheck::new(Scan { pair, last: None })
}
