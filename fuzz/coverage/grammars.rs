//! The target `grammars` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::GRAMMARS.run(input));
