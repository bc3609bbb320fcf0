//! A GPU, through its driver: memory, copies, launches of the kernels that are compiled into the program.
//!
//! Made by `server`. Nothing of CUDA is linked: opening a device loads the libraries, and a missing one is an error. A
//! device that fails while it works cannot be worked with any further, so such errors panic.
#![allow(unsafe_code)]

mod fetch;
mod pinned;
mod trial;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaModule, CudaStream, DriverError, result, sys,
};
use cudarc::nvrtc::Ptx;

use super::device::{Blocks, Device, Launch, Work};
use super::library::Library;
use super::lock::locked;
use crate::backend::{Error, Result};
pub use fetch::Fetch;
use pinned::Pool;

include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Bytes of shared memory that a block gets without asking for more.
const USUAL_SHARED_BYTES: usize = 48 << 10;

/// Time that the host may need to ask for one work and for the time after it.
const ASKING_MICROSECONDS: usize = 10;

/// A GPU, and a stream of it.
#[derive(Clone)]
pub struct Driver {
    opened: Arc<Opened>,
    stream: Arc<CudaStream>,
}

struct Opened {
    context: Arc<CudaContext>,
    modules: Vec<Arc<CudaModule>>,
    kernels: Mutex<HashMap<&'static str, Kernel>>,
    library: Library,
    pool: Pool,
}

/// A kernel that was launched before.
#[derive(Clone)]
struct Kernel {
    function: CudaFunction,
    /// Bytes of shared memory that its blocks may have.
    shared_bytes: usize,
}

/// A captured graph, which the driver lets any thread launch.
pub struct Graph(CudaGraph);

// SAFETY: the driver's handles belong to the context, not to a thread; one thread at a time launches it.
unsafe impl Send for Graph {}

/// Whether there is a GPU that [`Driver::open`] would find.
pub fn is_present() -> bool {
    // SAFETY: this only looks for the library.
    let has_library = unsafe { sys::is_culib_present() };
    has_library && result::init().is_ok() && CudaContext::device_count().is_ok_and(|count| count > 0)
}

impl Driver {
    /// Opens the GPU of that number, as the driver counts them.
    ///
    /// # Errors
    /// When there is no driver, no such GPU, or no cuBLASLt.
    pub fn open(ordinal: usize) -> Result<Self> {
        let no_gpu = |reason: String| Error::NoGpu { reason };
        // SAFETY: this only looks for the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(no_gpu("there is no NVIDIA driver (libcuda.so.1 is not found)".into()));
        }
        let failed = |error: DriverError| no_gpu(format!("the driver says {error}"));
        let context = CudaContext::new(ordinal).map_err(failed)?;
        // SAFETY: what streams have in common is ordered by `follow`; there is nothing to track.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed)?;
        let load = |image: &&[u8]| context.load_module(Ptx::from_binary(image.to_vec()));
        let modules = IMAGES.iter().map(load).collect::<std::result::Result<_, _>>().map_err(failed)?;
        let library = Library::open().map_err(no_gpu)?;
        let opened = Opened { context, modules, kernels: Mutex::default(), library, pool: Pool::default() };
        Ok(Self { opened: Arc::new(opened), stream })
    }

    /// Bytes of the GPU's memory that are free.
    fn free_bytes(&self) -> usize {
        let info = self.opened.context.mem_get_info();
        info.unwrap_or_else(|error| panic!("the GPU does not tell its memory: {error}")).0
    }

    /// Makes this GPU the one that the calling thread works with.
    fn bind(&self) {
        self.opened.context.bind_to_thread().unwrap_or_else(|error| panic!("the GPU cannot be used: {error}"));
    }

    fn kernel(&self, launch: &Launch) -> CudaFunction {
        let mut kernels = locked(&self.opened.kernels);
        let kernel = match kernels.entry(launch.kernel) {
            Entry::Occupied(kernel) => kernel.into_mut(),
            Entry::Vacant(place) => {
                let found = self.opened.modules.iter().find_map(|module| module.load_function(launch.kernel).ok());
                let function = found.unwrap_or_else(|| panic!("there is no kernel {}", launch.kernel));
                place.insert(Kernel { function, shared_bytes: USUAL_SHARED_BYTES })
            }
        };
        let wanted = launch.blocks.shared_bytes;
        if wanted > kernel.shared_bytes {
            let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(wanted).expect("shared memory is counted in kilobytes");
            kernel.function.set_attribute(most, bytes).unwrap_or_else(|error| fail(launch, error));
            kernel.shared_bytes = wanted;
        }
        kernel.function.clone()
    }

    /// # Safety
    /// As [`Device::run`].
    unsafe fn launch(&self, launch: &Launch) {
        let kernel = self.kernel(launch);
        let Launch { blocks: Blocks { grid: [x, y, z], threads, shared_bytes }, ref params, overlaps, .. } = *launch;
        let mut params: [*mut c_void; 1] = [params.address().cast_mut()];
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: u32::try_from(shared_bytes).expect("shared memory is counted in kilobytes"),
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(overlaps),
        };
        // SAFETY: the kernel takes one struct, of which the driver copies as many bytes as the kernel was compiled for;
        // that Rust's struct has as many is what the shim compares. The caller answers for its addresses.
        let launched = unsafe {
            sys::cuLaunchKernelEx(&raw const config, kernel.cu_function(), params.as_mut_ptr(), std::ptr::null_mut())
        };
        launched.result().unwrap_or_else(|error| fail(launch, error));
    }
}

/// Keeps a stream waiting for so many microseconds.
extern "C" fn sleep(microseconds: *mut c_void) {
    thread::sleep(Duration::from_micros(microseconds as u64));
}

fn fail(launch: &Launch, error: DriverError) -> ! {
    panic!("the GPU did not run {}: {error}", launch.kernel)
}

impl Device for Driver {
    type Graph = Graph;
    type Fetch = Fetch;

    fn describe(&self) -> String {
        let name = self.opened.context.name().unwrap_or_else(|_| "GPU".into());
        format!("cuda ({name})")
    }

    fn fork(&self) -> Result<Self> {
        let failed = |error| Error::NoGpu { reason: format!("the driver says {error}") };
        Ok(Self { opened: Arc::clone(&self.opened), stream: self.opened.context.new_stream().map_err(failed)? })
    }

    fn follow(&self, other: &Self) {
        let waiting = other.stream.record_event(None).and_then(|event| self.stream.wait(&event));
        waiting.unwrap_or_else(|error| panic!("the GPU cannot order its streams: {error}"));
    }

    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64> {
        self.bind();
        let whole = bytes.max(1);
        // SAFETY: the context is bound; whoever gets the memory gives it back.
        let memory = unsafe { result::malloc_sync(whole) };
        let address = memory.map_err(|_| Error::DeviceOutOfMemory { bytes, purpose, free: self.free_bytes() })?;
        // SAFETY: the memory is that long, and nobody else has it.
        let cleared = unsafe { result::memset_d8_async(address, 0, whole, self.stream.cu_stream()) };
        // Whichever stream uses it first finds it cleared.
        let cleared = cleared.and_then(|()| self.stream.synchronize());
        cleared.unwrap_or_else(|error| panic!("the GPU does not clear memory: {error}"));
        Ok(address)
    }

    unsafe fn free(&self, address: u64) {
        self.bind();
        // Work that was asked for may still use it. A device that fails here fails at the next call as well, which can
        // say so. SAFETY: the address comes from `allocate`, once.
        let _ = result::ctx::synchronize().and_then(|()| unsafe { result::free_sync(address) });
    }

    unsafe fn write(&self, bytes: &[u8], address: u64) {
        self.bind();
        // SAFETY: the caller says that the memory is as long.
        unsafe { self.opened.pool.write(bytes, address, &self.stream) }
    }

    unsafe fn read(&self, address: u64, bytes: &mut [u8]) {
        self.bind();
        // SAFETY: the caller says that the memory is as long; the copy is over before `bytes` is seen again.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, address, self.stream.cu_stream()) };
        let done = copied.and_then(|()| self.stream.synchronize());
        done.unwrap_or_else(|error| panic!("the GPU failed at work it was given: {error}"));
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) {
        self.bind();
        // SAFETY: the caller says that both memories are as long.
        let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) };
        copied.unwrap_or_else(|error| panic!("the GPU makes no copy: {error}"));
    }

    unsafe fn fetch(&self, address: u64, bytes: usize) -> Fetch {
        self.bind();
        // SAFETY: the caller says that the memory is as long, and stays.
        unsafe { fetch::start(&self.opened.pool, address, bytes, &self.stream) }
    }

    fn finish(&self, fetch: Fetch) -> Vec<u8> {
        self.bind();
        fetch::finish(&self.opened.pool, fetch)
    }

    fn wait(&self) {
        self.stream.synchronize().unwrap_or_else(|error| panic!("the GPU failed at work it was given: {error}"));
    }

    unsafe fn run(&self, work: &Work) {
        self.bind();
        match work {
            // SAFETY: the caller answers for every address in the work.
            Work::Launch(launch) => unsafe { self.launch(launch) },
            Work::Product(product) => self.opened.library.product(product, &self.stream),
        }
    }

    unsafe fn fastest(&self, works: &[Work]) -> usize {
        // SAFETY: the caller answers for every address in the works; `bind` bound the context when they were asked for.
        unsafe { trial::fastest(works, &self.stream, |work| self.run(work)) }
    }

    unsafe fn run_timed(&self, works: &[Work]) -> Vec<Duration> {
        fn done<T>(step: std::result::Result<T, DriverError>) -> T {
            step.unwrap_or_else(|error| panic!("the GPU does not measure time: {error}"))
        }
        let now = || done(self.stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)));
        self.bind();
        // The device begins when all is asked for: else it would wait for the host between short kernels.
        let microseconds = works.len() * ASKING_MICROSECONDS;
        // SAFETY: the stream lives; what the function is told is a number.
        let held = unsafe {
            result::stream::launch_host_function(self.stream.cu_stream(), sleep, microseconds as *mut c_void)
        };
        done(held);
        let mut events = vec![now()];
        for work in works {
            // SAFETY: the caller answers for every address in the works.
            unsafe { self.run(work) }
            events.push(now());
        }
        let milliseconds = |pair: &[CudaEvent]| done(pair[0].elapsed_ms(&pair[1]));
        events.windows(2).map(|pair| Duration::from_secs_f32(milliseconds(pair) / 1e3)).collect()
    }

    unsafe fn capture(&self, works: &[Work]) -> Graph {
        fn done<T>(step: std::result::Result<T, DriverError>) -> T {
            step.unwrap_or_else(|error| panic!("the GPU did not capture a step: {error}"))
        }
        done(self.stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        for work in works {
            // SAFETY: the caller answers for every address in the works; while a stream is captured nothing runs.
            unsafe { self.run(work) }
        }
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = done(self.stream.end_capture(flags));
        Graph(graph.expect("a step that is captured has an end"))
    }

    unsafe fn replay(&self, graph: &Graph) {
        graph.0.launch().unwrap_or_else(|error| panic!("the GPU did not replay a step: {error}"));
    }
}
