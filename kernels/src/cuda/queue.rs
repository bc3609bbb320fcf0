//! Work in order: performed at once, or recorded as a step and replayed when the same step comes again.
//!
//! Owned by the backend in `cuda`. What differs from step to step (ids, positions, pages) lies in lists on the device,
//! at addresses that repeat, and takes one copy; so the works of a step, parameters included, are mostly those of an
//! earlier one.
#![allow(unsafe_code)]

use std::sync::Mutex;

use bytemuck::NoUninit;

use super::device::{Blocks, Device, Launch, Params, Work};
use super::lists::{Lists, PackedLists};
use super::lock::locked;
use super::memory::{Heap, Memory};
use super::recording::{CheckedLists, Recording};
use super::replays::Replays;
use super::scratch::Scratch;
use crate::backend::{KernelCost, Result};

/// A stream of a device.
pub(super) struct Queue<D: Device> {
    device: D,
    heap: Heap<D>,
    /// Within a step a kernel may begin before the one before it has ended.
    overlaps: bool,
    state: Mutex<State<D>>,
}

/// State that a queue keeps between calls.
struct State<D: Device> {
    /// The step that is being recorded.
    recording: Option<Recording>,
    lists: Lists<D>,
    replays: Replays<D>,
    scratch: Scratch<D>,
}

/// One of several kernels that compute the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub kernel: &'static str,
    pub blocks: Blocks,
}

impl<D: Device> Queue<D> {
    pub(super) fn new(device: D, heap: Heap<D>) -> Result<Self> {
        let (lists, scratch) = (Lists::new(&heap)?, Scratch::new(&heap)?);
        let state = Mutex::new(State { recording: None, lists, replays: Replays::new(), scratch });
        Ok(Self { device, heap, overlaps: false, state })
    }

    /// Lets the kernels of a step overlap.
    pub(super) fn overlapping(self) -> Self {
        Self { overlaps: true, ..self }
    }

    pub(super) const fn device(&self) -> &D {
        &self.device
    }

    /// Launches a kernel. The addresses in `params` lead to memory as long as the kernel takes it to be.
    pub(super) fn launch<P: NoUninit>(&self, kernel: &'static str, blocks: Blocks, params: &P) {
        if blocks.grid.contains(&0) {
            return;
        }
        let params = Params::of(params);
        let is_followed = |state: &State<D>| state.recording.as_ref().is_some_and(|recording| !recording.is_empty());
        let overlaps = self.overlaps && is_followed(&locked(&self.state));
        self.submit(Work::Launch(Launch { kernel, blocks, params, overlaps }));
    }

    /// Index of the variant that takes the device the least time. The device tries them at once, within a step as well:
    /// all of them write what the step is about to write.
    pub(super) fn fastest<P: NoUninit>(&self, variants: &[Variant], params: &P) -> usize {
        let params = Params::of(params);
        let work =
            |&Variant { kernel, blocks }: &Variant| Work::Launch(Launch { kernel, blocks, params, overlaps: false });
        let works: Vec<Work> = variants.iter().map(work).collect();
        // SAFETY: ops take addresses from memory whose length they checked, and the heap keeps what a step has dropped.
        unsafe { self.device.fastest(&works) }
    }

    /// Performs work, or records it within a step.
    pub(super) fn submit(&self, work: Work) {
        if let Some(recording) = &mut locked(&self.state).recording {
            return recording.push(work);
        }
        // SAFETY: ops take addresses from memory whose length they checked and which they hold during the call.
        unsafe { self.device.run(&work) }
    }

    /// Records what `ops` ask for, and performs all of it at the end.
    pub(super) fn step(&self, ops: impl FnOnce()) {
        self.record(ops, |recording| {
            // SAFETY: the works were recorded in this step, and the heap keeps what the step has dropped.
            unsafe { locked(&self.state).replays.perform(&self.device, recording.into_works()) }
        });
    }

    /// Like [`Self::step`], work by work. Returns the costs of the works up to each mark.
    pub(super) fn timed_step(&self, ops: impl FnOnce()) -> Vec<Vec<KernelCost>> {
        self.record(ops, |recording| {
            // SAFETY: the works were recorded in this step, and the heap keeps what the step has dropped.
            let times = unsafe { self.device.run_timed(recording.works()) };
            recording.costs(&times)
        })
    }

    /// Notes how many bytes the latest work must read and write, for an op of several works.
    pub(super) fn moves(&self, bytes: usize) {
        if let Some(recording) = &mut locked(&self.state).recording {
            recording.note_bytes(bytes);
        }
    }

    /// Ends a group of works whose costs [`Self::timed_step`] reports together.
    pub(super) fn mark(&self) {
        if let Some(recording) = &mut locked(&self.state).recording {
            recording.mark();
        }
    }

    fn record<T>(&self, ops: impl FnOnce(), perform: impl FnOnce(Recording) -> T) -> T {
        let open = OpenStep::begin(self);
        ops();
        let recording = locked(&self.state).recording.take().expect("only its end closes a step");
        for (words, address) in locked(&self.state).lists.copies() {
            // SAFETY: each stretch of words comes with the address of memory that was made as long.
            unsafe { self.device.write(bytemuck::cast_slice(words), address) }
        }
        let done = perform(recording);
        drop(open);
        done
    }

    /// Steps that are replayed.
    pub(super) fn graphs(&self) -> usize {
        locked(&self.state).replays.graphs()
    }

    /// Copies lists to the device and returns their addresses. Within a step the copy is made at the step's end.
    pub(super) fn lists<const N: usize>(&self, lists: [&[u32]; N]) -> [u64; N] {
        let State { recording, lists: room, .. } = &mut *locked(&self.state);
        if recording.is_some() {
            return lists.map(|list| room.add(&self.heap, list));
        }
        let PackedLists { words, address, lists } = room.pack(lists);
        // SAFETY: `pack` grew the memory at the address to the length of the words.
        unsafe { self.device.write(bytemuck::cast_slice(&words), address) }
        lists
    }

    /// Runs `check`, which must not use this queue, unless the same lists passed it earlier in the same step.
    pub(super) fn check_once(&self, lists: CheckedLists, check: impl FnOnce()) {
        match &mut locked(&self.state).recording {
            Some(recording) => recording.check_once(lists, check),
            None => check(),
        }
    }

    /// Address of at least `bytes` of working memory for partial results of one op.
    pub(super) fn partials(&self, bytes: usize) -> u64 {
        locked(&self.state).scratch.partials(bytes)
    }

    /// Address of at least `bytes` for copies of rows of logits under rules, which the next op draws from.
    pub(super) fn ruled(&self, bytes: usize) -> u64 {
        locked(&self.state).scratch.ruled(bytes)
    }

    /// Address of at least `bytes` for a matrix that the next op multiplies with.
    pub(super) fn widened(&self, bytes: usize) -> u64 {
        locked(&self.state).scratch.widened(bytes)
    }

    /// Address of at least `count` counters that are zero, for an op that leaves them zero.
    pub(super) fn finished(&self, count: usize) -> u64 {
        locked(&self.state).scratch.finished(count)
    }

    /// Copies bytes from the host to byte `offset` of the memory.
    pub(super) fn write(&self, bytes: &[u8], memory: &Memory<D>, offset: usize) {
        self.assert_no_step();
        let address = memory.at(offset, bytes.len());
        // SAFETY: `at` checked that the memory has as many bytes from the address on.
        unsafe { self.device.write(bytes, address) }
    }

    /// Copies bytes from byte `offset` of the memory to the host, after all earlier work.
    pub(super) fn read(&self, memory: &Memory<D>, offset: usize, bytes: &mut [u8]) {
        self.assert_no_step();
        let address = memory.at(offset, bytes.len());
        // SAFETY: `at` checked that the memory has as many bytes from the address on.
        unsafe { self.device.read(address, bytes) }
    }

    /// Begins a copy of the first `bytes` of the memory to the host.
    pub(super) fn fetch(&self, memory: &Memory<D>, bytes: usize) -> D::Fetch {
        self.assert_no_step();
        let address = memory.at(0, bytes);
        // SAFETY: `at` checked the length; memory is freed only after all work that was asked for, this copy included.
        unsafe { self.device.fetch(address, bytes) }
    }

    /// Copies one memory over another of the same length.
    pub(super) fn copy(&self, from: &Memory<D>, to: &Memory<D>) {
        self.assert_no_step();
        let (bytes, address) = (from.bytes(), to.at(0, from.bytes()));
        // SAFETY: `at` checked that `to` is as long as `from`, and two memories never overlap.
        unsafe { self.device.copy(from.address(), address, bytes) }
    }

    fn assert_no_step(&self) {
        assert!(locked(&self.state).recording.is_none(), "within a step nothing is copied from or to the host");
    }
}

/// An open step: while it lives, work is recorded and memory is kept. An op that panics unwinds through it: then
/// nothing of the step is performed, and the queue takes further work.
struct OpenStep<'a, D: Device>(&'a Queue<D>);

impl<'a, D: Device> OpenStep<'a, D> {
    fn begin(queue: &'a Queue<D>) -> Self {
        let mut state = locked(&queue.state);
        state.recording = Some(Recording::default());
        state.lists.begin();
        drop(state);
        queue.heap.keep();
        Self(queue)
    }
}

impl<D: Device> Drop for OpenStep<'_, D> {
    fn drop(&mut self) {
        locked(&self.0.state).recording = None;
        self.0.heap.release();
    }
}
