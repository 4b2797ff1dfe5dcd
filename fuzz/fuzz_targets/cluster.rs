#![no_main]

#[path = "../src/cluster.rs"]
mod cluster;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    cluster::message(data);
});
