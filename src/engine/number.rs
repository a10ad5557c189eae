//! Loop numbers: process-wide, so that a handle tells whose it is.

use std::sync::Mutex;

use crate::handle::LAST_GENERATION;
use crate::op::Kind;
use crate::{Error, ErrorKind};

/// What of the numbers is known: for each number ever used, the highest generation its loops gave out, and
/// whether it is free.
struct Numbers {
    highest: Vec<u64>,
    free: Vec<u16>,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { highest: Vec::new(), free: Vec::new() });

/// The number of a live loop. A reused number goes on from its predecessor's highest generation, so a name from
/// an earlier loop is stale on every later one.
pub(crate) struct LoopNumber {
    number: u16,
    floor: u64,
}

impl LoopNumber {
    /// # Errors
    /// `Busy` if 65,535 loops are alive.
    pub(crate) fn take() -> Result<LoopNumber, Error> {
        let mut numbers = NUMBERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(number) = numbers.free.pop() {
            return Ok(LoopNumber { number, floor: numbers.highest[usize::from(number)] });
        }
        let number = u16::try_from(numbers.highest.len()).ok().filter(|&number| number < u16::MAX);
        let number = number.ok_or(Error::new(ErrorKind::Busy, Kind::Build))?;
        numbers.highest.push(0);
        Ok(LoopNumber { number, floor: 0 })
    }

    pub(crate) fn get(&self) -> u16 {
        self.number
    }

    /// The highest generation that earlier loops of this number gave out.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Gives the number back, with the highest generation that was used under it.
    pub(crate) fn give_back(&self, highest: u64) {
        let mut numbers = NUMBERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        numbers.highest[usize::from(self.number)] = highest;
        // A number whose generations are nearly used up is retired.
        if highest < LAST_GENERATION / 2 {
            numbers.free.push(self.number);
        }
    }
}
