//! Ending a run early.

use tokio::sync::watch;

/// How far a run is ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// It goes on.
    #[default]
    No,
    /// Nothing more is sent; answers are awaited.
    SendNoMore,
    /// Answers are not awaited either.
    AtOnce,
}

/// A switch that ends a run, for those who watch it and those who turn it.
#[derive(Debug, Clone)]
pub struct HaltSwitch {
    sender: watch::Sender<Halt>,
    receiver: watch::Receiver<Halt>,
}

impl Default for HaltSwitch {
    fn default() -> Self {
        let (sender, receiver) = watch::channel(Halt::No);
        Self { sender, receiver }
    }
}

impl HaltSwitch {
    /// Ends the run one degree further, and says how far it is ended now.
    pub fn turn(&self) -> Halt {
        let next = match self.now() {
            Halt::No => Halt::SendNoMore,
            Halt::SendNoMore | Halt::AtOnce => Halt::AtOnce,
        };
        self.sender.send_replace(next);
        next
    }

    /// How far the run is ended.
    pub fn now(&self) -> Halt {
        *self.receiver.borrow()
    }

    /// Waits until the run is ended at least so far.
    pub async fn reached(&mut self, halt: Halt) {
        // The sender lives as long as the receiver does.
        let _ = self.receiver.wait_for(|now| *now >= halt).await;
    }
}
