//! The target `configs` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::CONFIGS.run(input));
