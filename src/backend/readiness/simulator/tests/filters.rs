//! EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT.

use std::io::pipe;
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::UnixStream;

use super::*;

/// "The filter is executed upon the initial registration of a kevent in order to detect whether a preexisting condition is
/// present."
#[test]
fn what_is_so_already_is_told() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        write(&other, b"abc");
        arrived(&one, 3);
        kq.change(&[set(&one, EVFILT_READ, EV_ADD | EV_CLEAR), set(&one, EVFILT_WRITE, EV_ADD | EV_CLEAR)]);
        let told = kq.now();
        assert_eq!(told.iter().map(|event| event.filter).collect::<Vec<_>>(), [EVFILT_READ, EVFILT_WRITE]);
        // "On return, data contains the number of bytes of protocol data available to read"; "the amount of space
        // remaining in the write buffer".
        assert_eq!(told[0].data, 3);
        assert!(told[1].data > 0);
    }
}

/// "The filter is also run when the user attempts to retrieve the kevent from the kqueue. If the filter indicates that the
/// condition that triggered the event no longer holds, the kevent is removed from the kqueue and is not returned."
#[test]
fn what_is_so_no_longer_is_not_told() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        write(&writer, b"x");
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        read(&reader, 1);
        kq.nothing();
        write(&writer, b"y");
        kq.one();
    }
}

/// Without EV_CLEAR it is told as long as it is so.
#[test]
fn levels() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD)]);
        write(&writer, b"ab");
        assert_eq!([kq.one().data, kq.one().data], [2, 2]);
        read(&reader, 2);
        kq.nothing();
        write(&writer, b"c");
        assert_eq!(kq.one().data, 1);
    }
}

/// "Sockets which have previously been passed to listen(2) return when there is an incoming connection pending. data
/// contains the size of the listen backlog."
#[test]
fn listeners() {
    for profile in PROFILES {
        let kq = kq(profile);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        kq.change(&[
            set(&listener, EVFILT_READ, EV_ADD | EV_CLEAR),
            set(&listener, EVFILT_WRITE, EV_ADD | EV_CLEAR),
        ]);
        kq.nothing();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        assert_eq!((kq.one().data, kq.now().len()), (1, 0));
        let _second = TcpStream::connect(address).unwrap();
        assert_eq!(kq.one().data, 2);
    }
}

/// "If the read direction of the socket has shutdown, then the filter also sets EV_EOF in flags […]. It is possible for EOF
/// to be returned (indicating the connection is gone) while there is still data pending in the socket buffer."
#[test]
fn the_end_may_come_with_data() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        kq.change(&[set(&one, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        write(&other, b"xy");
        other.shutdown(Shutdown::Write).unwrap();
        let mut told = kq.one();
        while told.flags & EV_EOF == 0 {
            told = kq.one();
        }
        assert_eq!((told.data, told.fflags), (2, 0));
        read(&one, 2);
    }
}

/// "When the last writer disconnects, the filter will set EV_EOF in flags."
#[test]
fn a_pipe_without_writers() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        kq.nothing();
        drop(writer);
        assert_eq!(kq.one().flags & EV_EOF, EV_EOF);
    }
}

/// Readers of a FIFO aren't told that on macOS (seen by others: Go's issue 24164); PLATFORMS.md.
#[test]
fn a_fifo_without_writers() {
    for profile in PROFILES {
        let kq = kq(profile);
        let path = std::env::temp_dir().join(format!("nbio-kqueue-{}-{profile:?}", std::process::id()));
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        kq.change(&[set(&reader, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        write(&both, b"x");
        assert_eq!(kq.one().data, 1);
        read(&reader, 1);
        drop(both);
        assert_eq!(kq.now().len(), usize::from(profile != Profile::MacOs));
    }
}

/// "The filter will set EV_EOF when the reader disconnects."
#[test]
fn a_pipe_without_readers() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        kq.change(&[set(&writer, EVFILT_WRITE, EV_ADD | EV_CLEAR)]);
        assert_eq!(kq.one().flags & EV_EOF, 0);
        drop(reader);
        assert_eq!(kq.one().flags & EV_EOF, EV_EOF);
    }
}

/// A pipe whose reader is gone can have no EVFILT_WRITE any more (filt_pipeattach of FreeBSD; older macOS).
#[test]
fn no_filter_for_a_broken_pipe() {
    for profile in PROFILES {
        let (kq, (reader, writer)) = (kq(profile), pipe().unwrap());
        drop(reader);
        assert_eq!(kq.refuses(set(&writer, EVFILT_WRITE, EV_ADD)), libc::EPIPE);
    }
}

/// EVFILT_WRITE tells when there is room again.
#[test]
fn room_again() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        one.set_nonblocking(true).unwrap();
        kq.change(&[set(&one, EVFILT_WRITE, EV_ADD | EV_CLEAR)]);
        kq.one();
        fill(&one);
        while !kq.now().is_empty() {
            fill(&one);
        }
        let reader = std::thread::spawn(move || (&other).read_to_end(&mut Vec::new()).unwrap());
        kq.one();
        drop(one);
        reader.join().unwrap();
    }
}

/// What arrives is no news for EVFILT_WRITE, nor what goes for EVFILT_READ: sockets have a list of knotes for each buffer
/// (sowakeup of FreeBSD).
#[test]
fn directions_do_not_mix() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), pair());
        kq.change(&[set(&one, EVFILT_READ, EV_ADD | EV_CLEAR), set(&one, EVFILT_WRITE, EV_ADD | EV_CLEAR)]);
        assert_eq!(kq.one().filter, EVFILT_WRITE);
        for _ in 0..10 {
            write(&other, b"x");
            let told = kq.one();
            assert_eq!(told.filter, EVFILT_READ);
            read(&one, 1);
        }
    }
}

/// A connection that is being made has no room to write into, one that failed has ended.
#[test]
fn connecting() {
    for profile in PROFILES {
        let kq = kq(profile);
        let (fresh, address) = unconnected();
        kq.change(&[
            set(&fresh, EVFILT_READ, EV_ADD | EV_CLEAR),
            set(&fresh, EVFILT_WRITE, EV_ADD | EV_CLEAR),
        ]);
        // Linux's poll(2) calls it writable and hung up.
        kq.nothing();
        let begun = rustix::net::connect(&fresh, &address);
        assert!(matches!(begun, Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::CONNREFUSED)));
        let mut told = kq.one_of(EVFILT_WRITE);
        while told.flags & EV_EOF == 0 {
            told = kq.one_of(EVFILT_WRITE);
        }
        assert_ne!(told.fflags, 0);
        // The error itself is still there.
        let error = rustix::net::sockopt::socket_error(&fresh).unwrap();
        assert!(begun == Err(rustix::io::Errno::CONNREFUSED) || error == Err(rustix::io::Errno::CONNREFUSED));
    }
}

/// A socket, and an address where nobody listens.
fn unconnected() -> (OwnedFd, std::net::SocketAddr) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fresh = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    // It is bound, so nobody else gets it, and doesn't listen.
    let other = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&other, &any).unwrap();
    let address = rustix::net::getsockname(&other).unwrap().try_into().unwrap();
    std::mem::forget(other);
    (fresh, address)
}

impl Kq {
    /// Waits for an event of this filter.
    fn one_of(&self, filter: i16) -> kevent {
        loop {
            if let Some(told) = self.events(LONG).into_iter().find(|event| event.filter == filter) {
                return told;
            }
        }
    }
}

/// A UDP socket's error makes it readable, without EV_EOF: a datagram socket has no end (filt_soread).
#[test]
fn an_error_of_a_datagram_socket() {
    for profile in PROFILES {
        let kq = kq(profile);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(gone.local_addr().unwrap()).unwrap();
        drop(gone);
        kq.change(&[set(&socket, EVFILT_READ, EV_ADD | EV_CLEAR)]);
        kq.nothing();
        socket.send(b"x").unwrap();
        let told = kq.one();
        assert_eq!((told.flags & EV_EOF, told.data), (0, 0));
        assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

/// "This may be overridden with a per-filter low water mark at the time the filter is added by setting the NOTE_LOWAT flag
/// in fflags, and specifying the new low water mark in data."
#[test]
fn low_water_mark() {
    for profile in PROFILES {
        let (kq, (one, other)) = (kq(profile), UnixStream::pair().unwrap());
        kq.change(&[kevent { fflags: NOTE_LOWAT, data: 3, ..set(&one, EVFILT_READ, EV_ADD | EV_CLEAR) }]);
        write(&other, b"xy");
        kq.nothing();
        write(&other, b"z");
        assert_eq!(kq.one().data, 3);
        drop(other);
        read(&one, 3);
        assert_eq!(kq.one().flags & EV_EOF, EV_EOF);
    }
}

/// "Vnodes: Returns when the file pointer is not at the end of file. data contains the offset from current position to end
/// of file, and may be negative." "Note that this filter [EVFILT_WRITE] is not supported for vnodes."
#[test]
fn files() {
    for profile in PROFILES {
        let kq = kq(profile);
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(std::env::temp_dir(), flags, 0o600.into()).unwrap();
        let file = std::fs::File::from(file);
        kq.change(&[set(&file, EVFILT_READ, EV_ADD)]);
        kq.nothing();
        rustix::io::pwrite(&file, b"abc", 0).unwrap();
        kq.change(&[set(&file, EVFILT_READ, EV_ADD)]);
        assert_eq!(kq.one().data, 3);
        assert_eq!(kq.refuses(set(&file, EVFILT_WRITE, EV_ADD)), libc::EINVAL);
    }
}

/// "EVFILT_EXCEPT: […] can be used to monitor the arrival of out-of-band data on a socket descriptor using the filter flag
/// NOTE_OOB" (macOS). FreeBSD has no such filter.
#[test]
fn urgent_data() {
    let (one, other) = pair();
    let add = kevent { fflags: NOTE_OOB, ..set(&one, EVFILT_EXCEPT, EV_ADD | EV_CLEAR) };
    assert_eq!(kq(Profile::FreeBsd).refuses(add), libc::EINVAL);
    let kq = kq(Profile::MacOs);
    kq.change(&[add]);
    write(&other, b"x");
    arrived(&one, 1);
    kq.nothing();
    rustix::net::send(&other, b"!", rustix::net::SendFlags::OOB).unwrap();
    assert_eq!(kq.one().filter, EVFILT_EXCEPT);
}
