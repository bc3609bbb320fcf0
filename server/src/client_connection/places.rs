//! Places for connections: a limit in all, a limit per peer, and a few reserved for probes.
//!
//! Used by `http_server`. When all places are taken, the connection that has been idle for longest is closed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::peer::Peer;

/// Time in which an idle connection that is told to close has closed.
const CLOSING: Duration = Duration::from_millis(250);

/// Limits on the number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceLimits {
    /// Connections open at once, for requests of every kind.
    pub connections: usize,
    /// Connections beyond those, for probes only.
    pub reserved: usize,
    /// Connections open at once from one address.
    pub per_peer: usize,
}

/// All places.
#[derive(Debug)]
pub struct Places {
    limits: PlaceLimits,
    regular: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, usize>>,
    idle: Mutex<Idle>,
}

/// The idle connections, the one that has been idle for longest first.
#[derive(Debug, Default)]
struct Idle {
    turns: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// Purpose for which a connection has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Probes and metrics at an address of their own.
    Admin,
    /// Probes: health, readiness and metrics.
    Probes,
    /// Every request.
    Requests,
}

/// The place of one connection; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    purpose: Purpose,
    idleness: Arc<Idleness>,
    _permit: OwnedSemaphorePermit,
    _peer: PeerPlace,
}

/// Refusal: the peer has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyOfPeer;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No change under these locks can be interrupted halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// All places free.
    pub fn new(limits: PlaceLimits) -> Arc<Self> {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            limits,
            regular: places(limits.connections),
            reserved: places(limits.reserved),
            peers: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// Waits for a place for a connection of `peer`: a free one, otherwise that of an idle
    /// connection, otherwise one that only probes may use.
    ///
    /// # Errors
    /// When the peer has as many connections as it may have.
    pub async fn enter(self: &Arc<Self>, peer: Peer) -> Result<Place, TooManyOfPeer> {
        let peer = PeerPlace::take(self, peer.network())?;
        let (purpose, permit) = self.permit().await;
        let idleness = Arc::new(Idleness { places: Arc::clone(self), turn: Mutex::default(), shed: Arc::default() });
        Ok(Place { purpose, idleness, _permit: permit, _peer: peer })
    }

    async fn permit(&self) -> (Purpose, OwnedSemaphorePermit) {
        if let Ok(permit) = Arc::clone(&self.regular).try_acquire_owned() {
            return (Purpose::Requests, permit);
        }
        while self.shed() {
            if let Ok(permit) = tokio::time::timeout(CLOSING, acquire(&self.regular)).await {
                return (Purpose::Requests, permit);
            }
        }
        tokio::select! {
            biased;
            permit = acquire(&self.reserved) => (Purpose::Probes, permit),
            permit = acquire(&self.regular) => (Purpose::Requests, permit),
        }
    }

    /// Closes the connection that has been idle for longest; returns false if none is idle.
    fn shed(&self) -> bool {
        let oldest = lock(&self.idle).waiting.pop_first();
        if let Some((_, shed)) = &oldest {
            shed.notify_one();
        }
        oldest.is_some()
    }
}

async fn acquire(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the semaphores are never closed")
}

impl Place {
    /// Purpose of the place.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Restricts the place to `purpose`.
    #[must_use]
    pub fn at_most(mut self, purpose: Purpose) -> Self {
        self.purpose = self.purpose.min(purpose);
        self
    }

    /// Whether something is under way on the connection.
    pub const fn idleness(&self) -> &Arc<Idleness> {
        &self.idleness
    }
}

/// Idleness of a connection. It begins as busy.
#[derive(Debug)]
pub struct Idleness {
    places: Arc<Places>,
    /// Key of the connection among the idle ones.
    turn: Mutex<Option<u64>>,
    shed: Arc<Notify>,
}

impl Idleness {
    /// Marks the connection as idle.
    pub fn begin(&self) {
        let mut idle = lock(&self.places.idle);
        let turn = idle.turns;
        idle.turns += 1;
        idle.waiting.insert(turn, Arc::clone(&self.shed));
        if let Some(before) = lock(&self.turn).replace(turn) {
            idle.waiting.remove(&before);
        }
    }

    /// Marks the connection as busy.
    pub fn end(&self) {
        let mut idle = lock(&self.places.idle);
        if let Some(turn) = lock(&self.turn).take() {
            idle.waiting.remove(&turn);
        }
    }

    /// Returns when the connection's place is wanted for another.
    pub async fn shed(&self) {
        self.shed.notified().await;
    }
}

impl Drop for Idleness {
    fn drop(&mut self) {
        self.end();
    }
}

/// A place among those of one peer.
#[derive(Debug)]
struct PeerPlace {
    places: Arc<Places>,
    peer: IpAddr,
}

impl PeerPlace {
    fn take(places: &Arc<Places>, peer: IpAddr) -> Result<Self, TooManyOfPeer> {
        let mut peers = lock(&places.peers);
        let open = peers.entry(peer).or_default();
        if *open >= places.limits.per_peer {
            return Err(TooManyOfPeer);
        }
        *open += 1;
        Ok(Self { places: Arc::clone(places), peer })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut peers = lock(&self.places.peers);
        if let Some(open) = peers.get_mut(&self.peer) {
            *open -= 1;
            if *open == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::*;

    const HERE: Peer = peer(IpAddr::V4(Ipv4Addr::LOCALHOST));
    const THERE: Peer = peer(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7)));
    const NEXT_TO_THERE: Peer = peer(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9)));

    const fn peer(address: IpAddr) -> Peer {
        Peer(SocketAddr::new(address, 1))
    }

    fn places(connections: usize, reserved: usize, per_peer: usize) -> Arc<Places> {
        Places::new(PlaceLimits { connections, reserved, per_peer })
    }

    #[tokio::test]
    async fn a_peer_has_so_many_places_and_others_have_theirs() {
        let places = places(8, 0, 2);
        let (first, _second) = (places.enter(HERE).await.unwrap(), places.enter(HERE).await.unwrap());
        assert_eq!(places.enter(HERE).await.unwrap_err(), TooManyOfPeer);
        let (_third, _fourth) = (places.enter(THERE).await.unwrap(), places.enter(NEXT_TO_THERE).await.unwrap());
        assert_eq!(places.enter(THERE).await.unwrap_err(), TooManyOfPeer, "its network is one peer");
        drop(first);
        assert!(places.enter(HERE).await.is_ok());
    }

    #[tokio::test]
    async fn when_all_are_taken_the_one_that_is_idle_for_longest_makes_room() {
        let places = places(2, 0, 8);
        let (first, second) = (places.enter(HERE).await.unwrap(), places.enter(HERE).await.unwrap());
        second.idleness().begin();
        first.idleness().begin();
        // Used once more in between: now the other one has been idle for longer.
        second.idleness().end();
        second.idleness().begin();
        let closing = tokio::spawn(async move {
            first.idleness().shed().await;
            drop(first);
        });
        assert_eq!(places.enter(HERE).await.unwrap().purpose(), Purpose::Requests);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn when_all_are_busy_probes_have_places_of_their_own() {
        let places = places(1, 1, 8);
        let busy = places.enter(HERE).await.unwrap();
        let probe = places.enter(HERE).await.unwrap();
        assert_eq!((busy.purpose(), probe.purpose()), (Purpose::Requests, Purpose::Probes));
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.enter(HERE).await.unwrap().purpose() }
        });
        tokio::task::yield_now().await;
        drop(busy);
        assert_eq!(waiting.await.unwrap(), Purpose::Requests);
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_is_not_shed() {
        let places = places(1, 1, 8);
        let first = places.enter(HERE).await.unwrap();
        first.idleness().begin();
        drop(first);
        let _busy = places.enter(HERE).await.unwrap();
        assert!(!places.shed());
    }
}
