#![no_main]

#[path = "../src/marshal.rs"]
mod marshal;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    marshal::read(data);
});
