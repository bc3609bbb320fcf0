//! The target `connections` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::CONNECTIONS.run(input));
