//! libuv, the system's shared library, found when the program runs: uv_try_write first and uv_write for what is left, as its
//! guide says for speed.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::IntoRawFd;
use std::ptr;

use anyhow::{Context, ensure};
use libloading::Library;

use super::BUFFER;

/// `UV_TCP` and `UV_WRITE` of uv.h, which sizes are asked by.
const TCP: c_int = 12;
const WRITE: c_int = 3;

type Handle = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy)]
struct Buf {
    base: *mut u8,
    length: usize,
}

type AllocateCallback = extern "C" fn(Handle, usize, *mut Buf);
type ReadCallback = extern "C" fn(Handle, isize, *const Buf);
type HandleCallback = extern "C" fn(Handle);
type StatusCallback = extern "C" fn(Handle, c_int);

/// The functions of libuv that the server uses; declared as in uv.h.
struct Functions {
    default_loop: extern "C" fn() -> Handle,
    run: extern "C" fn(Handle, c_int) -> c_int,
    stop: extern "C" fn(Handle),
    handle_size: extern "C" fn(c_int) -> usize,
    req_size: extern "C" fn(c_int) -> usize,
    tcp_init: extern "C" fn(Handle, Handle) -> c_int,
    tcp_open: extern "C" fn(Handle, c_int) -> c_int,
    listen: extern "C" fn(Handle, c_int, StatusCallback) -> c_int,
    accept: extern "C" fn(Handle, Handle) -> c_int,
    read_start: extern "C" fn(Handle, AllocateCallback, ReadCallback) -> c_int,
    read_stop: extern "C" fn(Handle) -> c_int,
    try_write: extern "C" fn(Handle, *const Buf, c_uint) -> c_int,
    write: extern "C" fn(Handle, Handle, *const Buf, c_uint, StatusCallback) -> c_int,
    close: extern "C" fn(Handle, HandleCallback),
    get_data: extern "C" fn(Handle) -> *mut c_void,
    set_data: extern "C" fn(Handle, *mut c_void),
    req_get_data: extern "C" fn(Handle) -> *mut c_void,
    req_set_data: extern "C" fn(Handle, *mut c_void),
}

/// What a handle's data points to.
struct Connection {
    buffer: Box<[u8; BUFFER]>,
    /// The request of the one write that may be under way, and how much it has.
    request: Box<[u128]>,
    length: usize,
}

static FUNCTIONS: std::sync::OnceLock<Functions> = std::sync::OnceLock::new();

fn uv() -> &'static Functions {
    FUNCTIONS.get().expect("set before the loop runs")
}

fn load() -> anyhow::Result<Functions> {
    // SAFETY: libuv runs no code of its own when it is loaded; it stays loaded.
    let library =
        unsafe { Library::new("libuv.so.1") }.context("libuv is missing: apt-get install libuv1")?;
    let library: &'static Library = Box::leak(Box::new(library));
    /// # Safety
    ///
    /// `F` is the function's type in uv.h.
    unsafe fn find<F: Copy>(library: &Library, name: &str) -> anyhow::Result<F> {
        // SAFETY: the caller's promise.
        unsafe { library.get::<F>(name.as_bytes()) }.map(|symbol| *symbol).with_context(|| name.to_owned())
    }
    // SAFETY: the types are those of libuv 1.x, which doesn't change them.
    unsafe {
        Ok(Functions {
            default_loop: find(library, "uv_default_loop")?,
            run: find(library, "uv_run")?,
            stop: find(library, "uv_stop")?,
            handle_size: find(library, "uv_handle_size")?,
            req_size: find(library, "uv_req_size")?,
            tcp_init: find(library, "uv_tcp_init")?,
            tcp_open: find(library, "uv_tcp_open")?,
            listen: find(library, "uv_listen")?,
            accept: find(library, "uv_accept")?,
            read_start: find(library, "uv_read_start")?,
            read_stop: find(library, "uv_read_stop")?,
            try_write: find(library, "uv_try_write")?,
            write: find(library, "uv_write")?,
            close: find(library, "uv_close")?,
            get_data: find(library, "uv_handle_get_data")?,
            set_data: find(library, "uv_handle_set_data")?,
            req_get_data: find(library, "uv_req_get_data")?,
            req_set_data: find(library, "uv_req_set_data")?,
        })
    }
}

pub fn run() -> anyhow::Result<()> {
    let uv = {
        let functions = load()?;
        FUNCTIONS.get_or_init(|| functions)
    };
    let listener = super::listen()?;
    let handle = new_tcp();
    ensure!((uv.tcp_open)(handle, listener.into_raw_fd()) == 0, "uv_tcp_open");
    ensure!((uv.listen)(handle, 1024, accepted) == 0, "uv_listen");
    (uv.run)((uv.default_loop)(), 0);
    Ok(())
}

/// Memory of this size that lives until `free`, aligned for anything.
fn memory(size: usize) -> Box<[u128]> {
    vec![0; size.div_ceil(16)].into()
}

fn new_tcp() -> Handle {
    let handle = Box::leak(memory((uv().handle_size)(TCP))).as_mut_ptr().cast();
    (uv().tcp_init)((uv().default_loop)(), handle);
    handle
}

extern "C" fn accepted(listener: Handle, status: c_int) {
    if status != 0 {
        return;
    }
    let handle = new_tcp();
    let request = memory((uv().req_size)(WRITE));
    let connection = Box::new(Connection { buffer: Box::new([0; BUFFER]), request, length: 0 });
    (uv().set_data)(handle, Box::into_raw(connection).cast());
    if (uv().accept)(listener, handle) == 0 {
        (uv().read_start)(handle, allocate, received);
    } else {
        (uv().close)(handle, closed);
    }
}

/// The connection of a handle.
fn connection(handle: Handle) -> &'static mut Connection {
    // SAFETY: set in `accepted`, freed in `closed` only, after which libuv calls nothing with the handle. Callbacks run one
    // after the other, and each asks once.
    unsafe { &mut *(uv().get_data)(handle).cast::<Connection>() }
}

extern "C" fn allocate(handle: Handle, _: usize, buf: *mut Buf) {
    let memory = connection(handle).buffer.as_mut_ptr();
    // SAFETY: libuv passes a place for the answer.
    unsafe { *buf = Buf { base: memory, length: BUFFER } }
}

extern "C" fn received(handle: Handle, count: isize, _: *const Buf) {
    if count < 0 {
        return (uv().close)(handle, closed);
    }
    let connection = connection(handle);
    connection.length = count as usize;
    let buf = Buf { base: connection.buffer.as_mut_ptr(), length: count as usize };
    let sent = (uv().try_write)(handle, &raw const buf, 1).max(0) as usize;
    if sent == connection.length {
        return count_echoed(sent);
    }
    // The buffer is in use until the rest is written.
    (uv().read_stop)(handle);
    let rest = Buf { base: buf.base.wrapping_add(sent), length: connection.length - sent };
    let request = connection.request.as_mut_ptr().cast();
    (uv().req_set_data)(request, handle);
    if (uv().write)(request, handle, &raw const rest, 1, written) != 0 {
        (uv().close)(handle, closed);
    }
}

extern "C" fn written(request: Handle, status: c_int) {
    let handle = (uv().req_get_data)(request);
    if status != 0 {
        return (uv().close)(handle, closed);
    }
    count_echoed(connection(handle).length);
    (uv().read_start)(handle, allocate, received);
}

fn count_echoed(bytes: usize) {
    if super::echoed(bytes) {
        (uv().stop)((uv().default_loop)());
    }
}

extern "C" fn closed(handle: Handle) {
    // SAFETY: made in `accepted`, for this handle alone.
    drop(unsafe { Box::from_raw((uv().get_data)(handle).cast::<Connection>()) });
    let words = (uv().handle_size)(TCP).div_ceil(16);
    // SAFETY: made in `new_tcp` with as many words; libuv has let go of it.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(handle.cast::<u128>(), words)) });
}
