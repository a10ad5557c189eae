//! What libc has of kqueue. The numbers are macOS's, which differ from FreeBSD's for `EVFILT_USER`; nobody should rely
//! on them.

use std::ffi::{c_int, c_void};

use rustix::fs::{FileType, Stat};

use super::{Profile, look, profile};

pub(crate) type Filter = i16;
pub(crate) type Flags = u16;

/// The filter for urgent data, where there is one.
pub(crate) const EXCEPT: Option<Filter> = Some(EVFILT_EXCEPT);

/// FreeBSD's, the larger one: whoever makes one must do it for members that he doesn't know.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
#[allow(non_camel_case_types, reason = "libc's name")]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
    pub(crate) udata: *mut c_void,
    pub(crate) ext: [u64; 4],
}

// SAFETY: `udata` is a number to everybody but who gave it.
unsafe impl Send for kevent {}

pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
pub(crate) const EVFILT_USER: i16 = -10;
pub(crate) const EVFILT_EXCEPT: i16 = -15;

pub(crate) const EV_ADD: u16 = 0x1;
pub(crate) const EV_DELETE: u16 = 0x2;
pub(crate) const EV_ENABLE: u16 = 0x4;
pub(crate) const EV_DISABLE: u16 = 0x8;
pub(crate) const EV_ONESHOT: u16 = 0x10;
pub(crate) const EV_CLEAR: u16 = 0x20;
pub(crate) const EV_RECEIPT: u16 = 0x40;
pub(crate) const EV_DISPATCH: u16 = 0x80;
pub(crate) const EV_SYSFLAGS: u16 = 0xf000;
pub(crate) const EV_ERROR: u16 = 0x4000;
pub(crate) const EV_EOF: u16 = 0x8000;

/// Of `EVFILT_READ` and `EVFILT_WRITE`: ready from `data` bytes on.
pub(crate) const NOTE_LOWAT: u32 = 0x1;
/// Of `EVFILT_EXCEPT`.
pub(crate) const NOTE_OOB: u32 = 0x2;
/// Of `EVFILT_USER`.
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;
pub(crate) const NOTE_FFNOP: u32 = 0;
pub(crate) const NOTE_FFAND: u32 = 0x4000_0000;
pub(crate) const NOTE_FFOR: u32 = 0x8000_0000;
pub(crate) const NOTE_FFCOPY: u32 = 0xc000_0000;
pub(crate) const NOTE_FFCTRLMASK: u32 = 0xc000_0000;
pub(crate) const NOTE_FFLAGSMASK: u32 = 0x00ff_ffff;

/// Whether readers aren't told when the last writer goes: those of FIFOs that are files, on macOS.
pub(crate) fn misses_the_end(descriptor: c_int, status: &Stat) -> bool {
    profile() == Profile::MacOs
        && FileType::from_raw_mode(status.st_mode) == FileType::Fifo
        && look::is_named(descriptor)
}
