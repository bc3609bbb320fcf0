//! The process: arguments in, exit code out (0 done, 1 failed, 2 used wrongly).
//!
//! The only place that may read the environment. Everything it does is a call into the library.

fn main() {}
