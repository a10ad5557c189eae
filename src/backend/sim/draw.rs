//! What the simulation leaves to chance, all of it drawn from one seed.

/// A generator of numbers: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
/// Small, and the same numbers on every machine.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which isn't 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// How long the system takes over something, in nanoseconds: mostly no time at all, now and then up to 100 µs.
    pub(super) fn delay(&mut self) -> u64 {
        match self.below(8) {
            0 => 1 + self.below(100_000),
            1 => 1 + self.below(2_000),
            _ => 0,
        }
    }

    /// How many of `most` bytes move at once: mostly all, now and then any number from 1 on.
    pub(super) fn part(&mut self, most: usize) -> usize {
        if most > 1 && self.once_in(8) { 1 + self.below(most as u64) as usize } else { most }
    }
}
