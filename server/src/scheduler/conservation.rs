//! The check that no page is lost or owned without a reference, and that sequences keep their order.
//!
//! Called by the engine when it is idle, and by tests after every step. Changes nothing.

use super::page_pool::{PageId, PageImbalance};
use super::sequence::{SequenceId, Turn};
use super::source::Source;
use super::state::Scheduler;
use crate::request::Priority;

/// A broken invariant of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// The books of the page pool are wrong.
    #[error(transparent)]
    Pages(#[from] PageImbalance),
    /// A source has too few or too many pages for its tokens.
    #[error("{pages} pages are kept for a source of {tokens} tokens")]
    WrongSize {
        /// Pages owned.
        pages: usize,
        /// Source tokens.
        tokens: usize,
    },
    /// A source is kept as idle though a sequence holds it, or as held though none does.
    #[error("the source of page {} has {holders} holders and is kept as {}", page.0,
        if *.is_idle { "idle" } else { "held" })]
    WrongHolders {
        /// Its first page.
        page: PageId,
        /// Sequences that hold it.
        holders: u32,
        /// Whether it may be evicted.
        is_idle: bool,
    },
    /// A page lacks pieces that its owner reads, or has some that it gave back.
    #[error("page {} has {pieces} pieces", page.0)]
    WrongPieces {
        /// The page.
        page: PageId,
        /// Number of pieces that it has.
        pieces: usize,
    },
    /// A sequence stands behind a younger one.
    #[error("sequence {} is out of order", sequence.0)]
    OutOfOrder {
        /// The sequence.
        sequence: SequenceId,
    },
    /// A counter is off.
    #[error("{counted} {what} were counted, {recorded} recorded")]
    Miscounted {
        /// Unit of the count.
        what: &'static str,
        /// Number found by walking.
        counted: usize,
        /// Number that is kept.
        recorded: usize,
    },
}

/// Number of owners of each page, by index.
struct Owners(Vec<u32>);

impl Owners {
    fn add(&mut self, pages: &[PageId]) {
        for page in pages {
            self.0[page.0 as usize] += 1;
        }
    }
}

impl Scheduler {
    /// Walks all owners of pages, all sequences and all encoder requests: references equal owners, counts agree,
    /// sequences are in order.
    ///
    /// # Errors
    /// The first thing that does not add up.
    pub fn check_conservation(&self) -> Result<(), Imbalance> {
        self.check_references()?;
        self.check_pieces()?;
        let mut cached = 0;
        for source in self.memory.sources.iter() {
            let (pages, tokens) = (source.pages().len(), source.key().tokens());
            if pages != self.memory.source_pages(source.key()) {
                return Err(Imbalance::WrongSize { pages, tokens });
            }
            self.check_holders(source)?;
            cached += if source.is_idle() { pages } else { 0 };
        }
        agree("cached pages", cached, self.memory.sources.idle_pages())?;
        let waiting = self.queue.waiting.iter().map(|waiting| waiting.sequence.rows());
        let begun = self.running_rows() + waiting.sum::<usize>();
        agree("rows of sequences that had their turn", begun, self.queue.begun())?;
        let encoder = &self.memory.encoder;
        agree("encoder requests", encoder.walk_encodings(), encoder.open_encodings())?;
        self.check_order()
    }

    fn check_references(&self) -> Result<(), PageImbalance> {
        let pool = &self.memory.pool;
        let mut owners = Owners(vec![0; pool.names()]);
        for source in self.memory.sources.iter() {
            owners.add(source.pages());
        }
        for running in &self.running {
            running.page_lists().for_each(|pages| owners.add(pages));
        }
        let holders = self.running.iter().map(|running| running.source);
        for slot in holders.chain(self.queue.waiting.iter().filter_map(|waiting| waiting.source)) {
            owners.add(self.memory.sources.get(slot).pages());
        }
        pool.check(owners.0)
    }

    /// Pages are whole but for those of branches that gave back a part.
    fn check_pieces(&self) -> Result<(), Imbalance> {
        let whole = self.memory.pool.pieces();
        let check = |page: PageId, gave_back: bool| {
            let pieces = self.memory.pool.pieces_of(page);
            let expected = if gave_back { whole.lasting() } else { whole.all };
            if pieces == expected { Ok(()) } else { Err(Imbalance::WrongPieces { page, pieces }) }
        };
        for running in &self.running {
            let mut branches = running.branches.iter().flat_map(|branch| branch.pages.iter().enumerate());
            branches.try_for_each(|(index, &page)| check(page, running.gave_back(index)))?;
            running.stems.iter().flat_map(|stem| &stem.pages).try_for_each(|&page| check(page, false))?;
        }
        self.memory.sources.iter().flat_map(Source::pages).try_for_each(|&page| check(page, false))
    }

    /// An idle source is one that nobody but the cache owns; its references have been compared with its owners.
    fn check_holders(&self, source: &Source) -> Result<(), Imbalance> {
        let (holders, is_idle) = (self.memory.holders(source), source.is_idle());
        if is_idle == (holders == 0) {
            return Ok(());
        }
        Err(Imbalance::WrongHolders { page: source.pages()[0], holders, is_idle })
    }

    /// Running sequences are in order, and so are waiting ones. Those of a priority that run are older than those that
    /// wait.
    fn check_order(&self) -> Result<(), Imbalance> {
        let running = || self.running.iter().map(|running| running.sequence.turn());
        let waiting = || self.queue.waiting.iter().map(|waiting| waiting.sequence.turn());
        ascending(running())?;
        ascending(waiting())?;
        for priority in Priority::ALL {
            ascending(running().chain(waiting()).filter(|turn| turn.priority == priority))?;
        }
        Ok(())
    }
}

fn ascending(turns: impl Iterator<Item = Turn>) -> Result<(), Imbalance> {
    let mut last = None;
    for turn in turns {
        if last >= Some(turn) {
            return Err(Imbalance::OutOfOrder { sequence: turn.id });
        }
        last = Some(turn);
    }
    Ok(())
}

const fn agree(what: &'static str, counted: usize, recorded: usize) -> Result<(), Imbalance> {
    if counted == recorded { Ok(()) } else { Err(Imbalance::Miscounted { what, counted, recorded }) }
}
