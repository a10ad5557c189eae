//! What kqueue.rs needs of the system: numbers, types and layouts differ, so they are libc's.

pub(crate) use libc::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_ENABLE, EV_EOF, EV_ERROR, EVFILT_READ, EVFILT_USER, EVFILT_WRITE,
    NOTE_TRIGGER, kevent, kqueue,
};

pub(crate) use super::system::knotes::{EXCEPT, Filter, Flags, NOTE_OOB, misses_the_end};
