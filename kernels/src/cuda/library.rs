//! Products of many rows, by cuBLASLt.
//!
//! Called by `driver`. Each shape of matrix has two algorithms, one for up to [`STEP_ROWS`] rows and one for more,
//! chosen when they are first needed; an engine rehearses both at its start. Neither splits a sum, so a row's result
//! does not depend on how many rows the same algorithm takes.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Mutex;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::CudaStream;

use super::device::LargeProduct;
use super::lock::locked;

/// Rows that the algorithms are chosen for: a decoder's step and an encoder's batch.
const NOMINAL_ROWS: [usize; 2] = [128, 4096];
/// Most rows of a decoder's step.
const STEP_ROWS: usize = 256;

/// Alignment of allocated memory, which the library expects unless it is told of less.
const WHOLE_ALIGNMENT: u32 = 256;

/// `CUBLAS_OP_T` of the library's `cublasOperation_t`.
const TRANSPOSED: i32 = 1;

/// cuBLASLt and the algorithms it has chosen.
pub(super) struct Library {
    handle: sys::cublasLtHandle_t,
    algorithms: Mutex<HashMap<Shape, sys::cublasLtMatmulAlgo_t>>,
}

/// All of a product but its rows and addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    outputs: usize,
    depth: usize,
    x_pitch: usize,
    matrix_pitch: usize,
    out_pitch: usize,
    wide: bool,
    /// Alignment of the matrix: less than [`WHOLE_ALIGNMENT`] where it is some rows of a larger one.
    matrix_alignment: u32,
    /// Which of [`NOMINAL_ROWS`] it is like.
    is_batch: bool,
}

/// A product as the library describes it. It counts columns first, where our rows are the columns of what it sees:
/// `out^T = matrix . x^T`.
struct Description {
    operation: sys::cublasLtMatmulDesc_t,
    matrix: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
}

// SAFETY: the library lets any thread use its handle; the algorithms have a lock.
unsafe impl Send for Library {}
// SAFETY: the library lets several threads use its handle at once; the algorithms have a lock.
unsafe impl Sync for Library {}

impl Library {
    pub(super) fn open() -> Result<Self, String> {
        // SAFETY: this only looks for the library.
        if !unsafe { sys::is_culib_present() } {
            return Err("there is a driver, but no libcublasLt.so on LD_LIBRARY_PATH".into());
        }
        let handle = result::create_handle().map_err(|error| format!("cuBLASLt says {error}"))?;
        Ok(Self { handle, algorithms: Mutex::default() })
    }

    pub(super) fn product(&self, product: &LargeProduct, stream: &CudaStream) {
        self.try_product(product, stream).unwrap_or_else(|error| panic!("cuBLASLt refuses {product:?}: {error}"));
    }

    fn try_product(&self, product: &LargeProduct, stream: &CudaStream) -> Result<(), CublasError> {
        let shape = Shape::of(product);
        let algorithm = self.algorithm(shape)?;
        if self.multiply(product, stream, &algorithm).is_ok() {
            return Ok(());
        }
        // One that does not take this number of rows.
        self.multiply(product, stream, &self.search(shape, product.rows)?)
    }

    fn multiply(
        &self,
        product: &LargeProduct,
        stream: &CudaStream,
        algorithm: &sys::cublasLtMatmulAlgo_t,
    ) -> Result<(), CublasError> {
        let shape = Shape::of(product);
        let description = Description::new(shape, product.rows)?;
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: the addresses hold what the product says, and the stream belongs to the bound context.
        unsafe {
            result::matmul(
                self.handle,
                description.operation,
                std::ptr::from_ref(&one).cast(),
                std::ptr::from_ref(&zero).cast(),
                product.matrix as *const c_void,
                description.matrix,
                product.x as *const c_void,
                description.x,
                product.out as *const c_void,
                description.out,
                product.out as *mut c_void,
                description.out,
                algorithm,
                std::ptr::null_mut(),
                0,
                stream.cu_stream().cast(),
            )
        }
    }

    /// The algorithm of a shape: the first that needs no working memory and splits no sum.
    fn algorithm(&self, shape: Shape) -> Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        let mut algorithms = locked(&self.algorithms);
        if let Some(algorithm) = algorithms.get(&shape) {
            return Ok(*algorithm);
        }
        let algorithm = self.search(shape, NOMINAL_ROWS[usize::from(shape.is_batch)])?;
        algorithms.insert(shape, algorithm);
        Ok(algorithm)
    }

    fn search(&self, shape: Shape, rows: usize) -> Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        let description = Description::new(shape, rows)?;
        let preference = result::create_matmul_pref()?;
        let workspace_bytes = 0_usize;
        let reductions = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        let [matrix_alignment, x_alignment, out_alignment] = shape.alignments();
        // SAFETY: each attribute is of the type that is pointed to.
        let found = unsafe {
            use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
            let set = |attribute, value: *const c_void, bytes| {
                result::set_matmul_pref_attribute(preference, attribute, value, bytes)
            };
            let set_number =
                |attribute, number: &u32| set(attribute, std::ptr::from_ref(number).cast(), size_of::<u32>());
            let workspace = std::ptr::from_ref(&workspace_bytes).cast();
            let Description { operation, matrix, x, out } = description;
            set(Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace, size_of::<usize>())
                .and_then(|()| set_number(Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions))
                .and_then(|()| set_number(Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &matrix_alignment))
                .and_then(|()| set_number(Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x_alignment))
                .and_then(|()| set_number(Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &out_alignment))
                .and_then(|()| set_number(Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &out_alignment))
                .and_then(|()| {
                    result::get_matmul_algo_heuristic(self.handle, operation, matrix, x, out, out, preference)
                })
        };
        // SAFETY: it was made above and is not used again.
        unsafe { result::destroy_matmul_pref(preference)? };
        Ok(found?.algo)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle. There is nobody to tell an error to.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Shape {
    const fn of(product: &LargeProduct) -> Self {
        let LargeProduct { outputs, depth, x_pitch, matrix_pitch, out_pitch, wide, .. } = *product;
        let (is_batch, matrix_alignment) = (product.rows > STEP_ROWS, alignment(product.matrix));
        Self { outputs, depth, x_pitch, matrix_pitch, out_pitch, wide, matrix_alignment, is_batch }
    }

    /// Alignments of the matrix, of `x` and of what is written. The last two may begin at any of their rows.
    const fn alignments(&self) -> [u32; 3] {
        let number_bytes = if self.wide { size_of::<f32>() } else { size_of::<u16>() };
        let x = alignment((self.x_pitch * size_of::<u16>()) as u64);
        [self.matrix_alignment, x, alignment((self.out_pitch * number_bytes) as u64)]
    }
}

/// The largest power of two that divides an address, up to [`WHOLE_ALIGNMENT`].
const fn alignment(address: u64) -> u32 {
    let (own, whole) = (address.trailing_zeros(), WHOLE_ALIGNMENT.trailing_zeros());
    1 << if own < whole { own } else { whole }
}

impl Description {
    fn new(shape: Shape, rows: usize) -> Result<Self, CublasError> {
        use sys::cudaDataType_t::{CUDA_R_16BF, CUDA_R_32F};
        let Shape { outputs, depth, x_pitch, matrix_pitch, out_pitch, wide, .. } = shape;
        let layout = |number, height: usize, width: usize, pitch: usize| {
            result::create_matrix_layout(number, height as u64, width as u64, pitch as i64)
        };
        let operation = result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, CUDA_R_32F)?;
        // SAFETY: the attribute is of that type.
        unsafe {
            result::set_matmul_desc_attribute(
                operation,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                std::ptr::from_ref(&TRANSPOSED).cast(),
                size_of_val(&TRANSPOSED),
            )?;
        }
        Ok(Self {
            operation,
            matrix: layout(CUDA_R_16BF, depth, outputs, matrix_pitch)?,
            x: layout(CUDA_R_16BF, depth, rows, x_pitch)?,
            out: layout(if wide { CUDA_R_32F } else { CUDA_R_16BF }, outputs, rows, out_pitch)?,
        })
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: they were made with the description and are not used again. There is nobody to tell an error to.
        unsafe {
            let _ = result::destroy_matmul_desc(self.operation);
            for layout in [self.matrix, self.x, self.out] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}
