//! The target `chat_templates` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::CHAT_TEMPLATES.run(input));
