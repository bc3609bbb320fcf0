//! The target `tokenizers` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::TOKENIZERS.run(input));
