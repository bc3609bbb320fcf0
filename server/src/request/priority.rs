//! Who comes first where rows, pages or the encoder do not suffice for everybody.
//!
//! Fixed for a call like its caller; followed by the scheduler.

/// Priority of a call. The smaller comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Runs on what interactive calls leave: it is admitted after them, and gives up rows and pages for them.
    Idle,
}

impl Priority {
    /// All of them, the first one first.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Idle];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Interactive => 0,
            Self::Idle => 1,
        }
    }
}
