//! [`mix`]: hashes for what no hostile sender gains by, the same in every version since they are kept on disk.

/// The finisher of Stafford's thirteenth variant, as in SplitMix64.
pub(crate) const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
