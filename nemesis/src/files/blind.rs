//! Damage without a look at what is damaged.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Flips one bit anywhere; says which.
pub fn flip_bit(bytes: &mut [u8], seed: u64) -> Result<String, String> {
    if bytes.is_empty() {
        return Err("it is empty: there is no bit to flip".into());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (at, bit) = (rng.random_range(0..bytes.len()), rng.random_range(0..8));
    bytes[at] ^= 1 << bit;
    Ok(format!("bit {bit} of byte {at} of {} flipped", bytes.len()))
}

/// Cuts the end off, at least a byte of it, at most all.
pub fn truncate(bytes: &mut Vec<u8>, seed: u64) -> Result<String, String> {
    if bytes.is_empty() {
        return Err("it is empty: there is nothing to cut".into());
    }
    let before = bytes.len();
    bytes.truncate(ChaCha8Rng::seed_from_u64(seed).random_range(0..before));
    Ok(format!("cut from {before} to {} bytes", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_flips_by_the_seed() {
        let flipped = |seed| {
            let mut bytes = vec![0u8; 100];
            flip_bit(&mut bytes, seed).unwrap();
            bytes
        };
        assert_eq!(flipped(1).iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(flipped(1), flipped(1));
        assert_ne!(flipped(1), flipped(2));
        assert!(flip_bit(&mut [], 1).is_err() && truncate(&mut Vec::new(), 1).is_err());
    }

    #[test]
    fn a_cut_takes_something() {
        for seed in 0..50 {
            let mut bytes = vec![7u8; 10];
            truncate(&mut bytes, seed).unwrap();
            assert!(bytes.len() < 10);
        }
    }
}
