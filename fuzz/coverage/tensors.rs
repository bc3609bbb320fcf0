//! The target `tensors` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::TENSORS.run(input));
