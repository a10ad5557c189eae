//! Looking before sleeping: how long a loop that finds nothing to do looks for other threads before it sleeps.
//!
//! To be woken costs a sleeping thread some microseconds, in a virtual machine tens of them, and whoever wakes it a
//! system call. So a loop that others ask again and again looks a while first. It learns from how its waits end:
//!
//! ```text
//! none → first → … → longest      doubled when something was given soon, though too late for the look
//!   ↑              ↓              halved when the look was ended by something else
//!   └──────────────┘              none when nothing was given soon: then `price` more waits must have been worth it
//! ```

use std::time::Duration;

/// No look is longer, and nothing later is soon: about what a wake-up costs in a virtual machine.
const LONGEST: Duration = Duration::from_micros(50);
const FIRST: Duration = Duration::from_nanos(12_500);
/// A look this short isn't worth the first clock reading.
const SHORTEST: Duration = Duration::from_micros(1);

/// How many waits in a row must have ended soon before a look is tried: at least so many, and twice as many after each
/// look in vain up to so many. These bound what looking in vain costs: 0.1 us a wait.
const LEAST_PRICE: u32 = 2;
const HIGHEST_PRICE: u32 = 1024;

/// What ended a look.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Another thread wants something since the look began.
    Asked,
    /// A completion of the backend.
    Completed,
    /// Its time is over.
    Nothing,
}

/// How long to look.
#[derive(Debug)]
pub(crate) enum Look {
    /// As long as the builder said.
    Fixed(Duration),
    /// As experience has it.
    Learnt { length: Duration, promising: u32, price: u32 },
}

impl Look {
    pub(crate) fn learnt() -> Look {
        Look::Learnt { length: Duration::ZERO, promising: 0, price: LEAST_PRICE }
    }

    /// Whether it wants to know how a wait ends in which another thread could ask for something.
    pub(super) fn learns(&self) -> bool {
        matches!(self, Look::Learnt { .. })
    }

    /// For the next wait; `company` is whether another thread could ask for anything.
    pub(super) fn length(&self, company: bool) -> Duration {
        match *self {
            Look::Learnt { .. } if !company => Duration::ZERO,
            Look::Fixed(length) | Look::Learnt { length, .. } => length,
        }
    }

    /// A look has ended. Where it found nothing, `slept` has the last word, if the loop then sleeps.
    pub(super) fn ended(&mut self, found: Found) {
        let Look::Learnt { length, price, .. } = self else { return };
        match found {
            Found::Asked => *price = (*price / 2).max(LEAST_PRICE),
            Found::Completed if *length < SHORTEST => *length = Duration::ZERO,
            Found::Completed => *length /= 2,
            Found::Nothing => {}
        }
    }

    /// The loop has slept, perhaps after a look. `asked` is how long after the beginning of the wait another thread woke
    /// it, if it was one.
    pub(super) fn slept(&mut self, asked: Option<Duration>) {
        let Look::Learnt { length, promising, price } = self else { return };
        let soon = asked.is_some_and(|asked| asked <= LONGEST);
        if length.is_zero() {
            *promising = if soon { *promising + 1 } else { 0 };
            if *promising >= *price {
                (*length, *promising) = (FIRST, 0);
            }
        } else if soon && *length < LONGEST {
            *length = (*length * 2).min(LONGEST);
        } else {
            *length = Duration::ZERO;
            *price = (*price * 2).min(HIGHEST_PRICE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one wait after the other brings, if others always ask so long after its beginning; how often it looked.
    fn waits(look: &mut Look, count: usize, asked: Option<Duration>) -> usize {
        let mut looks = 0;
        for _ in 0..count {
            let length = look.length(true);
            looks += usize::from(!length.is_zero());
            if asked.is_some_and(|asked| asked < length) {
                look.ended(Found::Asked);
                continue;
            }
            if !length.is_zero() {
                look.ended(Found::Nothing);
            }
            look.slept(asked);
        }
        looks
    }

    #[test]
    fn nobody_looks_whom_nobody_asks_or_only_late() {
        let mut look = Look::learnt();
        assert_eq!(waits(&mut look, 1000, None), 0);
        assert_eq!(waits(&mut look, 1000, Some(LONGEST * 2)), 0);
    }

    #[test]
    fn it_grows_until_it_finds_them() {
        for micros in [1, 10, 20, 49] {
            let mut look = Look::learnt();
            waits(&mut look, 10, Some(Duration::from_micros(micros)));
            assert!(look.length(true) > Duration::from_micros(micros), "{micros} us");
            assert!(look.length(false).is_zero(), "nobody could come");
            assert!(look.length(true) <= LONGEST);
        }
    }

    #[test]
    fn one_look_in_vain_is_the_last() {
        let mut look = Look::learnt();
        waits(&mut look, 10, Some(FIRST / 2));
        assert_eq!(waits(&mut look, 100, None), 1);
        waits(&mut look, 100, Some(FIRST / 2));
        assert_eq!(waits(&mut look, 100, Some(LONGEST * 2)), 1);
    }

    /// As on one CPU for all: nobody asks while the loop looks, but soon after.
    #[test]
    fn always_in_vain_becomes_rare() {
        let mut look = Look::learnt();
        let mut looks = 0;
        for _ in 0..100_000 {
            let length = look.length(true);
            if !length.is_zero() {
                looks += 1;
                look.ended(Found::Nothing);
            }
            look.slept(Some(length + Duration::from_micros(1)));
        }
        assert!((1..500).contains(&looks), "{looks} looks");
    }

    #[test]
    fn what_others_do_not_ask_for_ends_it() {
        let mut look = Look::learnt();
        waits(&mut look, 10, Some(Duration::from_micros(1)));
        assert!(!look.length(true).is_zero());
        for _ in 0..10 {
            look.ended(Found::Completed);
        }
        assert!(look.length(true).is_zero());
    }

    #[test]
    fn what_the_builder_said_stays() {
        let mut look = Look::Fixed(LONGEST * 3);
        waits(&mut look, 10, None);
        assert_eq!((look.length(true), look.length(false)), (LONGEST * 3, LONGEST * 3));
    }
}
