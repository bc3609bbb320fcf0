//! Matrix products of training, by the `gemm` crate.
//!
//! Called by the other files of `gradient` and by the trainer's linear layers. Every element is one sum over the
//! inner dimension in the same order, whatever the number of threads. Bounds are checked when a view is made.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// View of a matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers, one after another.
    ///
    /// # Panics
    /// When the slice is shorter.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix fills its slice");
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` numbers that start every `row_stride`.
    ///
    /// # Panics
    /// When the slice ends before the last row or rows overlap.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        check(data.len(), rows, columns, row_stride);
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The transposed view.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Mutable view of a matrix, to which a product is written.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// Rows of `columns` numbers, one after another.
    ///
    /// # Panics
    /// When the slice is shorter.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix fills its slice");
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` numbers that start every `row_stride`.
    ///
    /// # Panics
    /// When the slice ends before the last row or rows overlap.
    pub fn strided(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        check(data.len(), rows, columns, row_stride);
        Self { data, rows, columns, row_stride }
    }
}

fn check(len: usize, rows: usize, columns: usize, row_stride: usize) {
    assert!(columns <= row_stride, "rows do not overlap");
    let end = rows.checked_sub(1).and_then(|last| last.checked_mul(row_stride)?.checked_add(columns));
    assert!(rows == 0 || end.is_some_and(|end| end <= len), "a matrix ends within its slice");
}

/// Threads that compute a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The calling thread alone, for a task that is one of many.
    Caller,
    /// All threads of the current rayon pool.
    All,
}

/// The product `scale * left * right`.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// The factor whose rows are the result's.
    pub left: Matrix<'a>,
    /// The factor whose columns are the result's.
    pub right: Matrix<'a>,
    /// Factor of the result.
    pub scale: f32,
    /// Threads that compute it.
    pub workers: Workers,
}

impl Product<'_> {
    /// Overwrites `out` with the product.
    ///
    /// # Panics
    /// When the shapes do not fit each other.
    pub fn write(&self, out: MatrixMut<'_>) {
        self.fill(out, false);
    }

    /// Adds the product to `out`.
    ///
    /// # Panics
    /// When the shapes do not fit each other.
    pub fn add(&self, out: MatrixMut<'_>) {
        self.fill(out, true);
    }

    /// Returns the product in new memory.
    ///
    /// # Panics
    /// When the factors do not share their inner dimension.
    pub fn collect(&self) -> Vec<f32> {
        let (rows, columns) = (self.left.rows, self.right.columns);
        let mut out = Vec::with_capacity(rows * columns);
        // SAFETY: the vector has room for the product, and one that does not add reads nothing of it.
        unsafe { self.run(out.as_mut_ptr(), columns, false) };
        // SAFETY: the product has written every number.
        unsafe { out.set_len(rows * columns) };
        out
    }

    fn fill(&self, out: MatrixMut<'_>, add: bool) {
        let outer = (self.left.rows, self.right.columns);
        assert_eq!(outer, (out.rows, out.columns), "a product has its factors' outer dimensions");
        // SAFETY: the view was checked to hold its rows inside a slice that is borrowed alone.
        unsafe { self.run(out.data.as_mut_ptr(), out.row_stride, add) }
    }

    /// Computes into rows that start every `row_stride`.
    ///
    /// # Safety
    /// `out` is valid for writes of such rows, as many as `left` has and as long as those of `right`, and nobody else
    /// holds it; its numbers are initialised if the product is added.
    unsafe fn run(&self, out: *mut f32, row_stride: usize, add: bool) {
        let (left, right) = (self.left, self.right);
        assert_eq!(left.columns, right.rows, "factors share their inner dimension");
        let parallelism = if self.workers == Workers::All { Parallelism::Rayon(0) } else { Parallelism::None };
        // SAFETY: both factors were checked to lie inside their slices; the caller answers for `out`.
        unsafe {
            gemm::gemm(
                left.rows,
                right.columns,
                left.columns,
                out,
                1,
                row_stride as isize,
                add,
                left.data.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.data.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                self.scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::tests::numbers;

    fn slow(left: &Matrix<'_>, right: &Matrix<'_>) -> Vec<f64> {
        let mut out = Vec::new();
        for row in 0..left.rows {
            for column in 0..right.columns {
                let terms = (0..left.columns).map(|k| {
                    let l = left.data[row * left.row_stride + k * left.column_stride];
                    f64::from(l) * f64::from(right.data[k * right.row_stride + column * right.column_stride])
                });
                out.push(terms.sum());
            }
        }
        out
    }

    #[test]
    fn products_of_strided_and_transposed_views_follow_the_textbook() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (64, 200, 70), (1, 40, 30), (30, 40, 1)] {
            let (a, b) = (numbers(m * (k + 3), 1), numbers(n * (k + 1), 2));
            let left = Matrix::strided(&a, m, k, k + 3);
            let right = Matrix::strided(&b, n, k, k + 1).transposed();
            let expected = slow(&left, &right);
            let mut out = vec![1.0; m * (n + 2)];
            let product = Product { left, right, scale: 0.5, workers: Workers::Caller };
            product.add(MatrixMut::strided(&mut out, m, n, n + 2));
            for (row, expected) in out.chunks(n + 2).zip(expected.chunks(n)) {
                assert_eq!(row[n..], [1.0, 1.0], "what lies between rows is left alone");
                for (out, expected) in row.iter().zip(expected) {
                    assert!((f64::from(*out) - 1.0 - 0.5 * expected).abs() < 1e-4);
                }
            }
            for (out, expected) in product.collect().iter().zip(&expected) {
                assert!((f64::from(*out) - 0.5 * expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_product_has_the_same_bits_whatever_the_number_of_threads() {
        let (m, k, n) = (190, 700, 130);
        let (a, b) = (numbers(m * k, 3), numbers(k * n, 4));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (left, right) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            pool.install(|| Product { left, right, scale: 1.0, workers: Workers::All }.collect())
        };
        let alone = on(1);
        assert!([2, 3, 5].into_iter().all(|threads| on(threads) == alone));
    }

    #[test]
    #[should_panic(expected = "ends within its slice")]
    fn a_view_past_its_slice_is_refused() {
        Matrix::strided(&[0.0; 11], 3, 4, 4);
    }
}
