//! A GPU, through its driver: memory, copies, launches of the kernels that are compiled into the program.
//!
//! Made by `server`. Nothing of CUDA is linked: libraries are opened when a device is, and what is missing is an error.
//! A device that fails while it works leaves nothing to go on with: such errors panic.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, result, sys};
use cudarc::nvrtc::Ptx;

use super::device::{Device, LargeProduct, Launch};
use super::library::Library;
use crate::backend::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Shared memory of a block beyond which a kernel has to ask for it.
const USUAL_SHARED_BYTES: usize = 48 << 10;

/// A GPU with one stream.
#[derive(Clone)]
pub struct Driver(Arc<Opened>);

struct Opened {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: Vec<Arc<CudaModule>>,
    /// Kernels that were launched before.
    kernels: Mutex<HashMap<&'static str, CudaFunction>>,
    library: Library,
}

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
        let unavailable = |available: String| Error::Unavailable { wanted: "cuda".into(), available };
        // SAFETY: this only looks for the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(unavailable("no NVIDIA driver; libcuda.so.1 is not found".into()));
        }
        let failed = |error: DriverError| unavailable(format!("a driver that says {error}"));
        let context = CudaContext::new(ordinal).map_err(failed)?;
        // SAFETY: memory is used on one stream only; there is nothing to track between streams.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed)?;
        let load = |image: &&[u8]| context.load_module(Ptx::from_binary(image.to_vec()));
        let modules = IMAGES.iter().map(load).collect::<std::result::Result<_, _>>().map_err(failed)?;
        let library = Library::open().map_err(unavailable)?;
        Ok(Self(Arc::new(Opened { context, stream, modules, kernels: Mutex::default(), library })))
    }

    /// Bytes that are free, and bytes in all.
    pub fn memory(&self) -> (usize, usize) {
        self.bind();
        self.0.context.mem_get_info().unwrap_or_else(|error| panic!("the GPU does not tell its memory: {error}"))
    }

    /// The thread that asks works with this GPU from now on.
    fn bind(&self) {
        self.0.context.bind_to_thread().unwrap_or_else(|error| panic!("the GPU cannot be used: {error}"));
    }

    fn kernel(&self, launch: &Launch) -> CudaFunction {
        let mut kernels = self.0.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || {
            let found = self.0.modules.iter().find_map(|module| module.load_function(launch.kernel).ok());
            found.unwrap_or_else(|| panic!("there is no kernel {}", launch.kernel))
        };
        let kernel = kernels.entry(launch.kernel).or_insert_with(load).clone();
        drop(kernels);
        if launch.shared_bytes > USUAL_SHARED_BYTES {
            let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(launch.shared_bytes).expect("shared memory is counted in kilobytes");
            kernel.set_attribute(most, bytes).unwrap_or_else(|error| fail(launch, error));
        }
        kernel
    }
}

fn fail(launch: &Launch, error: DriverError) -> ! {
    panic!("the GPU did not run {}: {error}", launch.kernel)
}

impl Device for Driver {
    fn describe(&self) -> String {
        let name = self.0.context.name().unwrap_or_else(|_| "GPU".into());
        format!("cuda ({name})")
    }

    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64> {
        self.bind();
        let whole = bytes.max(1);
        // SAFETY: the context is bound; whoever gets the memory gives it back.
        let memory = unsafe { result::malloc_sync(whole) };
        let address = memory.map_err(|_| Error::DeviceOutOfMemory { bytes, purpose, free: self.memory().0 })?;
        // SAFETY: the memory is that long, and nobody else has it.
        let cleared = unsafe { result::memset_d8_async(address, 0, whole, self.0.stream.cu_stream()) };
        cleared.unwrap_or_else(|error| panic!("the GPU does not clear memory: {error}"));
        Ok(address)
    }

    fn free(&self, address: u64) {
        self.bind();
        // Work that was asked for may still use it.
        let done = self.0.stream.synchronize();
        // A device that fails here fails at the next call as well, which can say so.
        // SAFETY: the address comes from `allocate`, once.
        let _ = done.and_then(|()| unsafe { result::free_sync(address) });
    }

    fn write(&self, bytes: &[u8], address: u64) {
        self.bind();
        // SAFETY: callers name memory of `allocate` that is at least as long. Memory of the host that is not pinned is copied
        // aside before the call returns.
        let copied = unsafe { result::memcpy_htod_async(address, bytes, self.0.stream.cu_stream()) };
        copied.unwrap_or_else(|error| panic!("the GPU takes no copy: {error}"));
    }

    fn read(&self, address: u64, bytes: &mut [u8]) {
        self.bind();
        // SAFETY: callers name memory of `allocate` that is at least as long; the copy is over before `bytes` is seen again.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, address, self.0.stream.cu_stream()) };
        let done = copied.and_then(|()| self.0.stream.synchronize());
        done.unwrap_or_else(|error| panic!("the GPU failed at work it was given: {error}"));
    }

    fn launch(&self, launch: &Launch) {
        self.bind();
        let kernel = self.kernel(launch);
        let Launch { grid: [x, y, z], threads, shared_bytes, params, .. } = *launch;
        let mut params: [*mut c_void; 1] = [params.cast_mut()];
        // SAFETY: the kernel takes one struct, of which the driver copies as many bytes as the kernel was compiled for; that Rust's
        // struct has as many is what the shim compares. Its addresses were checked against the memory they lie in.
        let launched = unsafe {
            result::launch_kernel(
                kernel.cu_function(),
                (x, y, z),
                (threads, 1, 1),
                u32::try_from(shared_bytes).expect("shared memory is counted in kilobytes"),
                self.0.stream.cu_stream(),
                &mut params,
            )
        };
        launched.unwrap_or_else(|error| fail(launch, error));
    }

    fn product(&self, product: &LargeProduct) {
        self.bind();
        self.0.library.product(product, &self.0.stream);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The kernels that ptxas reports for a target.
    fn kernels(target: &str) -> BTreeSet<&str> {
        let compiled = REPORT.lines().filter_map(|line| line.split_once("Compiling entry function '"));
        let named = compiled.filter_map(|(_, rest)| rest.split_once("' for "));
        named.filter(|(_, on)| on.contains(target)).map(|(kernel, _)| kernel).collect()
    }

    #[test]
    fn no_kernel_spills_registers_on_any_target() {
        let (older, newer) = (kernels("sm_80"), kernels("sm_90a"));
        assert!(older == newer && older.len() > IMAGES.len() && older.contains("sample"), "{older:?} {newer:?}");
        let spills: Vec<&str> = REPORT.lines().filter(|line| line.contains("spill stores")).map(str::trim).collect();
        assert_eq!(spills.len(), older.len() + newer.len(), "{REPORT}");
        let clean = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
        assert!(spills.iter().all(|line| *line == clean), "{REPORT}");
    }

    #[test]
    fn without_a_driver_opening_says_so() {
        if is_present() {
            assert!(Driver::open(0).is_ok());
        } else {
            let error = Driver::open(0).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.starts_with("cuda is not available")));
        }
    }
}
