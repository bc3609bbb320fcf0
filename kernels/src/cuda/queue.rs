//! Work in order: done at once, or written down as a step, and replayed when the same step comes again.
//!
//! Owned by the backend in `cuda`. A step is the same when every launch of it is, parameters included: what differs from step
//! to step (ids, positions, pages) lies in lists on the device, at addresses that stay, and takes one copy.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::Mutex;

use bytemuck::NoUninit;

use super::device::{Device, Launch, Params, Work};
use super::lists::Lists;
use super::locked;
use super::memory::{Heap, Memory};
use crate::backend::{KernelCost, Result};

/// Steps that are remembered, of which the one that was not seen for longest makes place for another.
const MOST_STEPS: usize = 512;

/// A stream of a device.
pub(super) struct Queue<D: Device> {
    device: D,
    heap: Heap<D>,
    /// Within a step kernels overlap.
    overlaps: bool,
    /// The step that is being written down.
    recording: Mutex<Option<Vec<Work>>>,
    /// How much of it was asked for at each mark.
    marks: Mutex<Vec<usize>>,
    /// Bytes that works of it must move, by their places: of those that said so.
    moved: Mutex<Vec<(usize, u64)>>,
    /// Latest last.
    steps: Mutex<Vec<Step<D>>>,
    lists: Mutex<Lists<D>>,
    /// Lists of the step that were looked at, by their addresses and that of what they lead into.
    seen: Mutex<Vec<[u64; 3]>>,
    /// Sums of the parts that attention over pages is split into: work is done in order, so the next op's may follow in the
    /// same place.
    parts: Mutex<Memory<D>>,
    /// How many of the parts of each are done: zeros between ops.
    finished: Mutex<Memory<D>>,
    /// A matrix of bytes in bfloat16, for the product that follows.
    widened: Mutex<Memory<D>>,
}

/// A step that was seen.
struct Step<D: Device> {
    works: Vec<Work>,
    /// From the second time on: the first time loads kernels and chooses algorithms, which cannot be captured.
    graph: Option<D::Graph>,
}

impl<D: Device> Queue<D> {
    pub(super) fn new(device: D, heap: Heap<D>) -> Result<Self> {
        let lists = Mutex::new(Lists::new(&heap)?);
        let parts = Mutex::new(Memory::new(&heap, 1 << 20, "parts of attention")?);
        let finished = Mutex::new(Memory::new(&heap, 1 << 12, "parts of attention")?);
        let widened = Mutex::new(Memory::new(&heap, 0, "a widened matrix")?);
        Ok(Self {
            finished,
            widened,
            device,
            heap,
            overlaps: false,
            recording: Mutex::new(None),
            marks: Mutex::default(),
            moved: Mutex::default(),
            steps: Mutex::default(),
            lists,
            seen: Mutex::default(),
            parts,
        })
    }

    pub(super) fn overlapping(self) -> Self {
        Self { overlaps: true, ..self }
    }

    pub(super) const fn device(&self) -> &D {
        &self.device
    }

    /// Launches a kernel on `params`, whose addresses lead to memory as long as the kernel takes it to be.
    pub(super) fn launch<P: NoUninit>(&self, kernel: &'static str, grid: [u32; 3], room: (u32, usize), params: &P) {
        if grid.contains(&0) {
            return;
        }
        let (threads, shared_bytes) = room;
        let overlaps = self.overlaps && locked(&self.recording).as_ref().is_some_and(|works| !works.is_empty());
        let params = Params::of(params);
        self.submit(Work::Launch(Launch { kernel, grid, threads, shared_bytes, params, overlaps }));
    }

    /// Which of several launches on the same parameters, all of which write the same, takes the device the least time. It tries
    /// them, within a step as well: what they write is what that step is about to write.
    pub(super) fn fastest<P: NoUninit>(
        &self,
        candidates: &[(&'static str, [u32; 3], (u32, usize))],
        params: &P,
    ) -> usize {
        let params = Params::of(params);
        let work = |&(kernel, grid, (threads, shared_bytes))| {
            Work::Launch(Launch { kernel, grid, threads, shared_bytes, params, overlaps: false })
        };
        let works: Vec<Work> = candidates.iter().map(work).collect();
        // SAFETY: as for any launch; memory of the step is kept while it is written down.
        unsafe { self.device.fastest(&works) }
    }

    /// The same for any work.
    pub(super) fn submit(&self, work: Work) {
        if let Some(works) = locked(&self.recording).as_mut() {
            return works.push(work);
        }
        // SAFETY: ops take addresses from memory that they checked to be long enough.
        unsafe { self.device.run(&work) }
    }

    /// Puts off what `ops` launch to its end, and then does it all at once.
    pub(super) fn step(&self, ops: impl FnOnce()) {
        self.record(ops, |works| self.perform(works));
    }

    /// The same, work by work: what each took, those up to each mark together.
    pub(super) fn timed_step(&self, ops: impl FnOnce()) -> Vec<Vec<KernelCost>> {
        locked(&self.marks).clear();
        self.record(ops, |works| {
            // SAFETY: the works are those that were just asked for, whose memory is kept.
            let times = unsafe { self.device.run_timed(&works) };
            let moved: HashMap<usize, u64> = locked(&self.moved).iter().copied().collect();
            let cost =
                |at: usize| KernelCost { kernel: works[at].name(), time: times[at], bytes: moved.get(&at).copied() };
            let mut first = 0;
            let between = |&end: &usize| (std::mem::replace(&mut first, end)..end).map(cost).collect();
            locked(&self.marks).iter().map(between).collect()
        })
    }

    /// Says how many bytes the work that was asked for last must read and write: of an op that is done by several.
    pub(super) fn moves(&self, bytes: usize) {
        if let Some(works) = locked(&self.recording).as_ref().filter(|works| !works.is_empty()) {
            locked(&self.moved).push((works.len() - 1, bytes as u64));
        }
    }

    pub(super) fn mark(&self) {
        if let Some(works) = locked(&self.recording).as_ref() {
            locked(&self.marks).push(works.len());
        }
    }

    fn record<T>(&self, ops: impl FnOnce(), perform: impl FnOnce(Vec<Work>) -> T) -> T {
        let recording = Recording::begin(self);
        ops();
        let works = locked(&self.recording).take().expect("a step has one end");
        for (words, address) in locked(&self.lists).end() {
            // SAFETY: lists lie in memory that is as long as they are.
            unsafe { self.device.write(bytemuck::cast_slice(words), address) }
        }
        let done = perform(works);
        drop(recording);
        done
    }

    fn perform(&self, works: Vec<Work>) {
        let mut steps = locked(&self.steps);
        let step = match steps.iter().rposition(|step| step.works == works) {
            Some(found) => {
                let mut step = steps.remove(found);
                if step.graph.is_none() {
                    // SAFETY: the works are those that were just asked for, whose memory is kept.
                    step.graph = Some(unsafe { self.device.capture(&step.works) });
                }
                step
            }
            None => Step { works, graph: None },
        };
        match &step.graph {
            // SAFETY: as above.
            Some(graph) => unsafe { self.device.replay(graph) },
            None => {
                for work in &step.works {
                    // SAFETY: as above.
                    unsafe { self.device.run(work) }
                }
            }
        }
        if steps.len() == MOST_STEPS {
            steps.remove(0);
        }
        steps.push(step);
    }

    /// Steps that are replayed.
    pub(super) fn graphs(&self) -> usize {
        locked(&self.steps).iter().filter(|step| step.graph.is_some()).count()
    }

    /// Copies lists to the device, and says where they are.
    pub(super) fn lists<const N: usize>(&self, lists: [&[u32]; N]) -> [u64; N] {
        let mut room = locked(&self.lists);
        if locked(&self.recording).is_some() {
            return lists.map(|list| room.place(&self.heap, list));
        }
        let (words, address, places) = room.pack(&self.heap, lists);
        // SAFETY: the memory was made that long.
        unsafe { self.device.write(bytemuck::cast_slice(&words), address) }
        places
    }

    /// Checks lists, unless that was done in the same step: every layer reads the same ones. `key` has their addresses, which in a
    /// step stand for what they hold, and that of what they lead into.
    pub(super) fn check_once(&self, key: [u64; 3], check: impl FnOnce()) {
        let mut seen = locked(&self.seen);
        if locked(&self.recording).is_none() {
            return check();
        }
        if !seen.contains(&key) {
            check();
            seen.push(key);
        }
    }

    /// Working memory of at least `bytes` for the parts of attention. It grows by doubling, so it soon stops growing.
    pub(super) fn parts(&self, bytes: usize) -> u64 {
        self.room(&self.parts, bytes, "parts of attention")
    }

    /// The same for a matrix in bfloat16.
    pub(super) fn widened(&self, bytes: usize) -> u64 {
        self.room(&self.widened, bytes, "a widened matrix")
    }

    /// At least `count` zeros, for an op that leaves them so.
    pub(super) fn finished(&self, count: usize) -> u64 {
        self.room(&self.finished, 4 * count, "parts of attention")
    }

    fn room(&self, memory: &Mutex<Memory<D>>, bytes: usize, purpose: &'static str) -> u64 {
        let mut memory = locked(memory);
        if memory.bytes() < bytes {
            *memory = grown(&self.heap, bytes, purpose);
        }
        memory.address()
    }

    pub(super) fn write(&self, bytes: &[u8], memory: &Memory<D>, offset: usize) {
        self.assert_prompt();
        let address = memory.at(offset, bytes.len());
        // SAFETY: `at` looks whether the memory is that long.
        unsafe { self.device.write(bytes, address) }
    }

    pub(super) fn read(&self, memory: &Memory<D>, offset: usize, bytes: &mut [u8]) {
        self.assert_prompt();
        let address = memory.at(offset, bytes.len());
        // SAFETY: as in `write`.
        unsafe { self.device.read(address, bytes) }
    }

    pub(super) fn fetch(&self, memory: &Memory<D>, bytes: usize) -> D::Fetch {
        self.assert_prompt();
        let address = memory.at(0, bytes);
        // SAFETY: as in `write`; freeing waits for the copy.
        unsafe { self.device.fetch(address, bytes) }
    }

    /// Copies one memory over another of the same length.
    pub(super) fn copy(&self, from: &Memory<D>, to: &Memory<D>) {
        self.assert_prompt();
        let (bytes, address) = (from.bytes(), to.at(0, from.bytes()));
        // SAFETY: as in `write`; two memories do not overlap.
        unsafe { self.device.copy(from.address(), address, bytes) }
    }

    fn assert_prompt(&self) {
        assert!(locked(&self.recording).is_none(), "within a step nothing is copied from or to the host");
    }
}

/// While it lives a step is written down and its memory is kept. An op that refuses what it was given unwinds through here: then
/// nothing of the step is done, and the next work finds the queue as it was.
struct Recording<'a, D: Device>(&'a Queue<D>);

impl<'a, D: Device> Recording<'a, D> {
    fn begin(queue: &'a Queue<D>) -> Self {
        *locked(&queue.recording) = Some(Vec::new());
        locked(&queue.lists).begin();
        locked(&queue.seen).clear();
        locked(&queue.moved).clear();
        queue.heap.keep();
        Self(queue)
    }
}

impl<D: Device> Drop for Recording<'_, D> {
    fn drop(&mut self) {
        *locked(&self.0.recording) = None;
        self.0.heap.release();
    }
}

/// Working memory that a step cannot do without.
pub(super) fn grown<D: Device>(heap: &Heap<D>, bytes: usize, purpose: &'static str) -> Memory<D> {
    Memory::new(heap, bytes.next_power_of_two(), purpose)
        .unwrap_or_else(|error| panic!("a step needs more working memory than the device has: {error}"))
}
