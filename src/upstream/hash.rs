//! The one hash of everything that several Bowlines must agree on: XXH64, whose outcome is the same
//! on every machine and in every version. Changing it, or what is fed to it, moves every client.

use twox_hash::XxHash64;

/// The hash of a request's key or of an endpoint's `host:port`.
pub(super) fn of(bytes: &[u8]) -> u64 {
    seeded(0, bytes)
}

/// One of many hashes of the same bytes.
pub(super) fn seeded(seed: u64, bytes: &[u8]) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// One of many further hashes of a hash.
pub(super) fn again(hash: u64, seed: u64) -> u64 {
    seeded(seed, &hash.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_xxh64_for_ever() {
        // Of the reference implementation; a change here is a change for every running installation.
        assert_eq!(of(b""), 0xef46_db37_51d8_e999);
        assert_eq!(of(b"abc"), 0x44bc_2cf5_ad77_0999);
    }
}
