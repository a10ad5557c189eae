//! Socket options as the simulated system keeps them: Linux's ranges and roundings.

use std::time::Duration;

use crate::{ErrorKind, Keepalive, Linger, TcpOptions};

#[derive(Copy, Clone, Debug)]
pub(super) struct Settings {
    options: TcpOptions,
    /// What keepalive probes go by once they are switched on.
    times: (Duration, Duration, u32),
}

/// How many bytes fit a stream's buffers.
#[derive(Copy, Clone, Debug)]
pub(super) struct Capacities {
    pub(super) send: usize,
    pub(super) receive: usize,
}

/// The system doubles what it is asked for, to have room for its own bookkeeping (socket(7)).
const OVERHEAD: usize = 2;

const SMALLEST_BUFFER: usize = 2_304;
const LARGEST_BUFFER: usize = 4 << 20;
/// Options are C's `int`s.
const LARGEST_NUMBER: u64 = i32::MAX as u64;
const LONGEST_TIME: Duration = Duration::from_secs(32_767);
const MOST_PROBES: u32 = 127;

impl Settings {
    pub(super) fn new() -> Settings {
        let options = TcpOptions::default()
            .nodelay(false)
            .keepalive(Keepalive::Off)
            .linger(Linger::System)
            .recv_buffer(128 << 10)
            .send_buffer(128 << 10)
            .user_timeout(Duration::ZERO);
        Settings { options, times: (Duration::from_secs(7200), Duration::from_secs(75), 9) }
    }

    pub(super) fn get(&self) -> TcpOptions {
        self.options
    }

    pub(super) fn capacities(&self) -> Capacities {
        let bytes = |buffer: Option<usize>| buffer.expect("all options are known") / OVERHEAD;
        Capacities { send: bytes(self.options.send_buffer), receive: bytes(self.options.recv_buffer) }
    }

    pub(super) fn resets_on_close(&self) -> bool {
        self.options.linger == Some(Linger::Reset)
    }

    /// Sets options in their order, up to the first that is out of its range.
    pub(super) fn set(&mut self, wanted: &TcpOptions) -> Result<(), ErrorKind> {
        let options = &mut self.options;
        options.nodelay = wanted.nodelay.or(options.nodelay);
        match wanted.keepalive {
            Some(Keepalive::On { idle, interval, probes }) => {
                let (idle, interval) = (whole(idle, 1_000), whole(interval, 1_000));
                let range = Duration::from_secs(1)..=LONGEST_TIME;
                if !range.contains(&idle)
                    || !range.contains(&interval)
                    || !(1..=MOST_PROBES).contains(&probes)
                {
                    return Err(ErrorKind::InvalidInput);
                }
                self.times = (idle, interval, probes);
                options.keepalive = Some(Keepalive::On { idle, interval, probes });
            }
            Some(Keepalive::SystemTimes) => {
                let (idle, interval, probes) = self.times;
                options.keepalive = Some(Keepalive::On { idle, interval, probes });
            }
            Some(Keepalive::Off) => options.keepalive = Some(Keepalive::Off),
            None => {}
        }
        options.linger = match wanted.linger {
            Some(Linger::Wait(time)) => {
                let time = whole(time, 1_000).max(Duration::from_secs(1));
                if time.as_secs() > LARGEST_NUMBER {
                    return Err(ErrorKind::InvalidInput);
                }
                Some(Linger::Wait(time))
            }
            other => other.or(options.linger),
        };
        options.recv_buffer = wanted.recv_buffer.map(buffer_size).transpose()?.or(options.recv_buffer);
        options.send_buffer = wanted.send_buffer.map(buffer_size).transpose()?.or(options.send_buffer);
        if let Some(timeout) = wanted.user_timeout {
            let timeout = whole(timeout, 1);
            if timeout.as_millis() > u128::from(LARGEST_NUMBER) {
                return Err(ErrorKind::InvalidInput);
            }
            options.user_timeout = Some(timeout);
        }
        Ok(())
    }
}

/// The size of a buffer that was asked for.
pub(super) fn buffer_size(bytes: usize) -> Result<usize, ErrorKind> {
    match bytes as u64 {
        0..=LARGEST_NUMBER => Ok((bytes.min(LARGEST_BUFFER) * OVERHEAD).max(SMALLEST_BUFFER)),
        _ => Err(ErrorKind::InvalidInput),
    }
}

/// A duration rounded up to a multiple of `millis` milliseconds.
fn whole(duration: Duration, millis: u64) -> Duration {
    let unit = u128::from(millis) * 1_000_000;
    let units = u64::try_from(duration.as_nanos().div_ceil(unit)).unwrap_or(u64::MAX);
    Duration::from_millis(units.saturating_mul(millis))
}
