//! What must hold for any bytes at all. Each target is one function that panics when it does not,
//! so that libFuzzer, the smoke test and a person with a file all run the same thing.

pub mod answer;
pub mod certificate;
pub mod check_frames;
pub mod configuration;
pub mod frames;
pub mod open_packet;
pub mod path;
mod pieces;
pub mod proxy_protocol;
pub mod request_head;
pub mod switching_answer;
mod wire;
