//! System calls by hand: sendmsg and recvmsg with segmentation, and sendmmsg and recvmmsg.

use std::mem::{MaybeUninit, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{BATCH, Count, Limits, SIZE, stamp};

/// Nothing takes so long unless something was lost.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn send(socket: &UdpSocket, limits: Limits, segmented: bool) -> anyhow::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    if segmented {
        set(socket, libc::UDP_SEGMENT, SIZE as i32)?;
    }
    let mut batch = vec![0; BATCH * SIZE];
    let (mut sent, mut answered) = (0, 0);
    while answered < limits.total {
        while sent < limits.total && sent + BATCH <= answered + limits.window {
            stamp(&mut batch, sent);
            if segmented {
                let bytes = socket.send(&batch).context("sendmsg")?;
                ensure!(bytes == batch.len(), "{bytes} bytes were sent");
            } else {
                send_many(socket, &mut batch)?;
            }
            sent += BATCH;
        }
        let mut answer = [0; 8];
        socket.recv(&mut answer).context("no answer: was something lost?")?;
        answered = usize::from_le_bytes(answer);
    }
    Ok(())
}

fn set(socket: &UdpSocket, name: i32, value: i32) -> anyhow::Result<()> {
    // SAFETY: the value is there for its four bytes.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, name, (&raw const value).cast(), 4) };
    ensure!(result == 0, "setsockopt: {}", std::io::Error::last_os_error());
    Ok(())
}

/// One message header a piece of memory.
fn headers(pieces: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    let header = |piece: &mut libc::iovec| {
        // SAFETY: all of it may be zero.
        let mut header: libc::mmsghdr = unsafe { zeroed() };
        header.msg_hdr.msg_iov = piece;
        header.msg_hdr.msg_iovlen = 1;
        header
    };
    pieces.iter_mut().map(header).collect()
}

fn pieces(memory: &mut [u8]) -> Vec<libc::iovec> {
    let piece = |part: &mut [u8]| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() };
    memory.chunks_mut(SIZE).map(piece).collect()
}

fn send_many(socket: &UdpSocket, batch: &mut [u8]) -> anyhow::Result<()> {
    let mut pieces = pieces(batch);
    let mut headers = headers(&mut pieces);
    let mut done = 0;
    while done < headers.len() {
        let rest = &mut headers[done..];
        // SAFETY: the headers name memory that outlives the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
        ensure!(sent > 0, "sendmmsg: {}", std::io::Error::last_os_error());
        done += sent as usize;
    }
    Ok(())
}

pub fn receive(socket: &UdpSocket, total: usize, segmented: bool) -> anyhow::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    if segmented {
        set(socket, libc::UDP_GRO, 1)?;
    }
    let mut count = Count::new(total);
    let mut memory = vec![0; if segmented { 65_535 } else { BATCH * SIZE }];
    // Where the answers go.
    let mut first = [0; 8];
    let (_, sender) = socket.peek_from(&mut first).or_else(|error| match error.raw_os_error() {
        // Some systems say so of a datagram that is larger than that.
        Some(libc::EMSGSIZE) => socket.peek_from(&mut memory),
        _ => Err(error),
    })?;
    socket.connect(sender)?;
    let mut pieces = pieces(&mut memory);
    let mut headers = headers(&mut pieces);
    let base = pieces[0].iov_base.cast::<u8>().cast_const();
    while !count.over() {
        if segmented {
            let (bytes, size) = receive_segments(socket, base.cast_mut())?;
            // SAFETY: so many bytes were written there.
            let got = unsafe { std::slice::from_raw_parts(base, bytes) };
            got.chunks(size).try_for_each(|datagram| count.take(datagram))?;
        } else {
            let flags = libc::MSG_WAITFORONE;
            // SAFETY: the headers name memory that is there, and nothing else refers to.
            let received = unsafe {
                let none = std::ptr::null_mut();
                libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, flags, none)
            };
            ensure!(received > 0, "recvmmsg: {}", std::io::Error::last_os_error());
            for (header, piece) in headers.iter().zip(&pieces).take(received as usize) {
                // SAFETY: so many bytes were written there.
                let got = unsafe {
                    std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), header.msg_len as usize)
                };
                count.take(got)?;
            }
        }
        if let Some(answer) = count.answer() {
            socket.send(&answer).context("answering")?;
        }
    }
    Ok(())
}

/// One recvmsg into 65,535 bytes: how many came, and how many of them are a datagram.
fn receive_segments(socket: &UdpSocket, memory: *mut u8) -> anyhow::Result<(usize, usize)> {
    let mut control = MaybeUninit::<[u64; 8]>::uninit();
    let mut piece = libc::iovec { iov_base: memory.cast(), iov_len: 65_535 };
    // SAFETY: all of it may be zero.
    let mut header: libc::msghdr = unsafe { zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut piece, 1);
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), 64);
    // SAFETY: the header names memory that is there, and nothing else refers to.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    ensure!(received >= 0, "recvmsg: {}", std::io::Error::last_os_error());
    ensure!(header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0, "something was cut");
    let mut size = received as usize;
    // SAFETY: the system has written the control messages that these find.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        if !message.is_null()
            && (*message).cmsg_level == libc::SOL_UDP
            && (*message).cmsg_type == libc::UDP_GRO
        {
            size = libc::CMSG_DATA(message).cast::<i32>().read_unaligned() as usize;
        }
    }
    Ok((received as usize, size))
}
