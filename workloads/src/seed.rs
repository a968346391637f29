//! Named sub-seeds: one number fixes a whole run, and no two parts of it share a stream.

/// A seed for the part of a run called `label`, `n`-th of its kind.
///
/// FNV-1a over the label, then SplitMix64's finaliser over seed, label and `n` (Steele, Lea and Flood 2014).
/// The result is part of what `--seed` promises: it never changes between versions.
pub fn derive(seed: u64, label: &str, n: u64) -> u64 {
    let label = label.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    finalise(finalise(finalise(seed) ^ label).wrapping_add(n))
}

fn finalise(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn derived_seeds_never_change_between_versions() {
        assert_eq!(derive(0, "", 0), 0xa6bb_c8dc_be30_928c);
        assert_eq!(derive(1, "nemesis", 0), 0xef86_7244_866c_25dc);
        assert_eq!(derive(1, "worker", 7), 0x4ba4_5fe3_bb1b_b8bc);
    }

    #[test]
    fn seed_label_and_number_all_matter() {
        let mut seen = HashSet::new();
        for seed in 0..20 {
            for label in ["worker", "nemesis", "workerr", "w", ""] {
                for n in 0..20 {
                    assert!(seen.insert(derive(seed, label, n)), "{seed} {label} {n} collides");
                }
            }
        }
    }
}
