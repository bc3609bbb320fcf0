//! A device without numbers: pages hold digests of what was written, and tokens follow from them.
//!
//! The digest of a position follows from its source and all tokens up to it, so that a page which was given to
//! somebody else, or was not written, makes a wrong token.

use kernels::{Candidate, Draw, DrawRule, NO_PLACE, PAGE_TOKENS, PageSpan};
use model::PagePieces;
use simulation::scheduler::{Plan, PoolSize, TargetBatch};

use super::dice::mix;
use super::forms::choose;

/// First token of every target.
pub const START: u32 = 0;
/// The token that ends a target.
pub const END: u32 = 1;
/// Number of ids.
pub const VOCABULARY: u32 = 64;
/// First token of a source with which no logits are numbers.
pub const BROKEN: u32 = 63;

/// Content of a position of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cell {
    digest: u64,
    position: u32,
    is_broken: bool,
}

/// The pages.
#[derive(Debug)]
pub struct Device {
    cells: Vec<Cell>,
    page_cells: usize,
    source_page_tokens: usize,
    pieces: PagePieces,
    rows: Vec<Cell>,
}

/// Results of a step.
#[derive(Debug, Default)]
pub struct Found {
    pub chosen: Vec<Option<u32>>,
    pub best: Vec<Vec<Candidate>>,
    /// Outputs that came before their masks.
    pub late: Vec<u32>,
}

/// The digest of a source.
pub fn source_digest(ids: &[u32]) -> u64 {
    ids.iter().fold(1, |digest, &id| mix(digest, id.into()))
}

/// The digest with one more token.
pub fn with_token(digest: u64, token: u32) -> u64 {
    mix(digest, token.into())
}

/// The token after a digest. Texts with an odd seed repeat themselves for the most part.
pub fn draw(digest: u64, seed: u64, choice: u32, position: u32) -> u32 {
    let number = mix(mix(digest, seed), choice.into());
    match number % 32 {
        0 => END,
        1..=27 if !seed.is_multiple_of(2) => 10 + position % 3,
        _ => 2 + (number >> 32) as u32 % (VOCABULARY - 2),
    }
}

impl Device {
    pub fn new(pool: PoolSize) -> Self {
        let page_cells = pool.source_page_tokens.max(PAGE_TOKENS);
        let cells = vec![Cell::default(); pool.pages * pool.pieces.all * page_cells];
        let PoolSize { source_page_tokens, pieces, .. } = pool;
        Self { cells, page_cells, source_page_tokens, pieces, rows: Vec::new() }
    }

    /// Runs a plan. `before` holds the tokens that the previous one drew, for a plan that was made ahead of them.
    pub fn run(&mut self, plan: &Plan, before: &[Option<u32>]) -> Found {
        for copy in &plan.copies {
            let from = copy.from as usize * self.page_cells;
            self.cells.copy_within(from..from + self.page_cells, copy.to as usize * self.page_cells);
        }
        self.encode(plan);
        self.rows.clear();
        for row in 0..plan.targets.len() {
            let cell = self.run_row(&plan.targets, row, before);
            self.rows.push(cell);
        }
        let cell_of = |output: u32| self.rows[plan.outputs[output as usize].row as usize];
        let token = |own: &Draw| {
            let cell = cell_of(own.row);
            let wanted = draw(cell.digest, own.sampling.seed, own.choice, own.position);
            choose(allowed(plan.rules.of(own.rule)), wanted).filter(|_| !cell.is_broken)
        };
        let best = plan.best_asks();
        let best = best.map(|ask| candidates(cell_of(ask.row), ask.count, allowed(plan.rules.of(ask.rule))));
        Found { chosen: plan.draws().map(token).collect(), best: best.collect(), late: Vec::new() }
    }

    /// Writes the sources whose last encoder layer runs.
    fn encode(&mut self, plan: &Plan) {
        let Some(step) = plan.encode() else { return };
        let Some(crossed) = step.cross_pages() else { return };
        for (segment, span) in crossed.segments.iter().zip(crossed.spans) {
            let rows = segment.start as usize..(segment.start + segment.len) as usize;
            let ids = &step.tokens[rows];
            let cell = Cell { digest: source_digest(ids), position: 0, is_broken: ids[0] == BROKEN };
            for position in 0..segment.len {
                for piece in 0..self.pieces.all {
                    let at = self.source_cell(crossed.tables.of(piece), *span, position);
                    self.cells[at] = Cell { position, ..cell };
                }
            }
        }
    }

    /// Reads the source and the position before, writes the row's own position, and returns what it holds.
    fn run_row(&mut self, targets: &TargetBatch, row: usize, before: &[Option<u32>]) -> Cell {
        let (cross, own, position) = (targets.cross_spans[row], targets.self_spans[row], targets.positions[row]);
        let read = |piece, at| self.cells[self.source_cell(targets.tables.of(piece), cross, at)];
        let source = read(0, 0);
        for piece in 0..self.pieces.all {
            for at in [0, cross.tokens - 1] {
                assert_eq!(read(piece, at), Cell { position: at, ..source }, "a source's page is another's");
            }
        }
        let last = match position.checked_sub(1) {
            None => source,
            Some(last) => {
                let read = |piece, at| self.cells[self.target_cell(targets.tables.of(piece), own, at)];
                let cell = read(0, last);
                assert_eq!((cell.position, cell.is_broken), (last, source.is_broken), "a target's page is another's");
                self.check_windows(position, read);
                cell
            }
        };
        let token = match targets.places[row] {
            NO_PLACE => targets.tokens[row],
            place => before[place as usize].unwrap_or_default(),
        };
        let cell = Cell { digest: with_token(last.digest, token), position, is_broken: source.is_broken };
        for piece in 0..self.pieces.all {
            let at = self.target_cell(targets.tables.of(piece), own, position);
            self.cells[at] = cell;
        }
        cell
    }

    /// The pieces of sliding layers hold what the first piece holds, at both ends of the window of a row.
    fn check_windows(&self, position: u32, read: impl Fn(usize, u32) -> Cell) {
        let begin = position.saturating_sub(u32::try_from(self.pieces.window - 1).unwrap_or(u32::MAX));
        for piece in (0..self.pieces.all).filter(|_| begin < position) {
            for at in [begin, position - 1] {
                assert_eq!(read(piece, at), read(0, at), "a piece of a target's page is another's");
            }
        }
    }

    fn source_cell(&self, tables: &[u32], span: PageSpan, position: u32) -> usize {
        self.cell(tables, span, position as usize, self.source_page_tokens)
    }

    fn target_cell(&self, tables: &[u32], span: PageSpan, position: u32) -> usize {
        self.cell(tables, span, position as usize, PAGE_TOKENS)
    }

    fn cell(&self, tables: &[u32], span: PageSpan, position: usize, page_tokens: usize) -> usize {
        let page = tables[span.first as usize + position / page_tokens] as usize;
        page * self.page_cells + position % page_tokens
    }
}

/// The ids that a rule allows, as bits.
fn allowed(rule: DrawRule<'_>) -> u64 {
    assert!(rule.edits.is_empty(), "nobody asks for penalties or biases");
    let masked = rule
        .mask
        .map_or(u64::MAX, |mask| mask.words.iter().rev().fold(0, |bits, &word| bits << u32::BITS | u64::from(word)));
    rule.banned.iter().fold(masked, |bits, id| bits & !(1 << id))
}

/// The best candidates after a row: none where logits are no numbers.
fn candidates(cell: Cell, count: u32, allowed: u64) -> Vec<Candidate> {
    let first = draw(cell.digest, 0, 0, 0);
    let candidate = |rank: u32| Candidate {
        id: 1 + (first + 5 * rank) % (VOCABULARY - 1),
        log_prob: -0.2 - 0.1 * rank as f32 - (cell.digest % 100) as f32 / 100.0,
        rank,
    };
    if cell.is_broken {
        return Vec::new();
    }
    let all = (0..VOCABULARY - 1).map(candidate).filter(|one| allowed >> one.id & 1 == 1);
    all.take(count as usize).collect()
}
