//! The completion port, and how other threads reach the loop through it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
use windows_sys::Win32::Media::{timeBeginPeriod, timeEndPeriod};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;

use crate::backend::windows::descriptor::as_handle;
use crate::backend::windows::files::Failure;
use crate::backend::windows::{OwnedDescriptor, Sort};
use crate::backend::{RawDescriptor, Token};

/// What the packets of open things have as their key, and that which another thread posts.
const OPEN: usize = 1;
pub(super) const WAKE: usize = 2;

/// How many packets are taken at a time.
const BATCH: usize = 128;

pub(super) type Batch = [OVERLAPPED_ENTRY; BATCH];

/// Waits that are longer end so much before their time and go on with the precise clock.
const COARSE: Duration = Duration::from_millis(40);

/// What a thread of the pool answers.
pub(super) type Landed = (Token, Result<u32, Failure>);

pub(super) struct Port {
    handle: OwnedDescriptor,
    /// A packet that wakes is on its way.
    waking: AtomicBool,
    landed: Mutex<VecDeque<Landed>>,
}

pub(super) fn empty_batch() -> Box<Batch> {
    // SAFETY: zeros are a value of it.
    unsafe { Box::new(std::mem::zeroed()) }
}

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

impl Port {
    pub(super) fn new() -> Result<Port, i32> {
        // SAFETY: it makes a port and touches nothing else. One thread takes its packets.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1) };
        if port.is_null() {
            return Err(last_error());
        }
        let handle = OwnedDescriptor::of(port as usize as u64, Sort::Handle);
        Ok(Port { handle, waking: AtomicBool::new(false), landed: Mutex::default() })
    }

    fn handle(&self) -> HANDLE {
        as_handle(self.handle.raw())
    }

    /// From now on what completes there comes here; once and for all.
    pub(super) fn associate(&self, descriptor: RawDescriptor) -> Result<(), i32> {
        // SAFETY: both are open.
        let port = unsafe { CreateIoCompletionPort(as_handle(descriptor), self.handle(), OPEN, 0) };
        if port.is_null() { Err(last_error()) } else { Ok(()) }
    }

    /// Wakes the loop. It may be asleep, or about to be.
    fn ring(&self) {
        if self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: the port is open; the packet has no OVERLAPPED.
        if unsafe { PostQueuedCompletionStatus(self.handle(), 0, WAKE, std::ptr::null()) } == 0 {
            // No memory for the packet: whoever comes next tries again.
            self.waking.store(false, Ordering::Release);
        }
    }

    /// The packet that wakes has come. What is posted from now on makes another.
    pub(super) fn rung(&self) {
        self.waking.store(false, Ordering::Release);
    }

    /// A thread of the pool has done something.
    pub(super) fn land(&self, landed: Landed) {
        self.landed.lock().unwrap_or_else(PoisonError::into_inner).push_back(landed);
        self.ring();
    }

    pub(super) fn take_landed(&self) -> VecDeque<Landed> {
        std::mem::take(&mut *self.landed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what packets there are, and waits for the first one for as long as `limit` says; says how many they are.
    ///
    /// The system counts in its own ticks of 15.6 ms; for the last part of a wait they are made 1 ms long. So a timer is
    /// at most about 2 ms late, and a program without timers costs no power.
    pub(super) fn wait(&self, limit: Option<Duration>, batch: &mut Batch) -> Result<usize, i32> {
        let Some(limit) = limit else { return self.take(INFINITE, batch) };
        let begun = std::time::Instant::now();
        if limit > COARSE {
            let millis = (limit - COARSE / 2).as_millis().min(u128::from(INFINITE - 1));
            let count = self.take(millis as u32, batch)?;
            if count > 0 || limit.as_millis() >= u128::from(INFINITE - 1) {
                return Ok(count);
            }
        }
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return self.take(0, batch);
        }
        // Up: the loop would only have to wait again.
        let millis = left.as_nanos().div_ceil(1_000_000) as u32;
        // SAFETY: it changes how long the system's ticks are, until the second call.
        unsafe { timeBeginPeriod(1) };
        let taken = self.take(millis, batch);
        // SAFETY: as above.
        unsafe { timeEndPeriod(1) };
        taken
    }

    fn take(&self, millis: u32, batch: &mut Batch) -> Result<usize, i32> {
        let mut count = 0;
        // SAFETY: there is room for so many packets. Not alertable: nobody else's code runs in there.
        let done = unsafe {
            GetQueuedCompletionStatusEx(
                self.handle(),
                batch.as_mut_ptr(),
                BATCH as u32,
                &raw mut count,
                millis,
                0,
            )
        };
        if done != 0 {
            return Ok(count as usize);
        }
        match last_error() {
            os if os as u32 == WAIT_TIMEOUT => Ok(0),
            os => Err(os),
        }
    }
}

/// What wakes a loop from other threads.
pub(super) struct Ringer(pub(super) Arc<Port>);

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring();
    }
}

/// Whether a batch was full: then there may be more.
pub(super) fn is_full(count: usize) -> bool {
    count == BATCH
}
