#![no_main]

#[path = "../src/envelope.rs"]
mod envelope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    envelope::read(data);
});
