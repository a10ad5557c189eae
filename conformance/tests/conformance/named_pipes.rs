//! Named pipes of Windows: servers, clients, messages.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nbio::{Done, Error, ErrorKind, Half, Operation, Pipe, op};

use crate::hanging::idle;
use crate::support::{Case, Slot, Subject};
use crate::system::descriptors;
use crate::wire::{Io, drive, keep, kind, noise, turn};

pub const CASES: &[Case] = &[
    Case { name: "server_and_client", run: server_and_client },
    Case { name: "programs_of_std_connect", run: programs_of_std_connect },
    Case { name: "one_way_only", run: one_way_only },
    Case { name: "messages_stay_whole", run: messages_stay_whole },
    Case { name: "several_clients_of_one_name", run: several_clients },
    Case { name: "clients_wait_for_an_instance", run: clients_wait },
    Case { name: "first_means_alone", run: first_means_alone },
    Case { name: "names_that_do_not_work", run: names_that_do_not_work },
    Case { name: "cancelled_removed_or_late_nothing_stays", run: cancelled },
    Case { name: "a_client_that_is_gone_is_heard", run: gone_client },
];

/// A name that nobody else has.
fn name() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(r"\\.\pipe\nbio-conformance-{}-{number}", std::process::id()).into()
}

type Connected = Result<Pipe, Error>;

/// Both ends of a connection.
fn connect(io: &Io, accept: op::AcceptPipe, name: &PathBuf, end: Half) -> (Pipe, Pipe) {
    let (server, client): (Slot<Connected>, Slot<Connected>) = (Slot::new(), Slot::new());
    io.submit(accept, keep(&server));
    turn(io, 1);
    assert_eq!(server.len(), 0);
    io.open_fifo(name, end, keep(&client));
    drive(io, || server.len() + client.len() == 2);
    (server.one().unwrap(), client.one().unwrap())
}

fn received(io: &Io, pipe: Pipe, room: usize) -> Done<Vec<u8>> {
    let received = Slot::new();
    io.recv(pipe, vec![0; room], keep(&received));
    drive(io, || received.len() > 0);
    received.one()
}

fn send(io: &Io, pipe: Pipe, bytes: impl Into<Vec<u8>>) {
    io.send_all(pipe, bytes.into(), |_, _, sent| assert_eq!(sent.result, Ok(())));
}

/// Guarantees 2, 7 and 8: bytes go both ways, more than the pipe holds, and then comes the end.
fn server_and_client(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let (server, client) = connect(&io, op::AcceptPipe::new(&name), &name, Half::Both);
    for (from, to) in [(server, client), (client, server)] {
        let contents = noise(300_000, 1);
        send(&io, from, contents.clone());
        let got: Slot<Done<Vec<u8>>> = Slot::new();
        io.recv_exact(to, vec![0; 300_000], 300_000, keep(&got));
        drive(&io, || got.len() > 0);
        assert!(got.one().data() == contents);
    }
    io.send_all(server, "last", move |_, io, _| io.close(server));
    assert_eq!(received(&io, client, 9).data(), b"last");
    let end = received(&io, client, 9);
    assert_eq!((end.result, end.bytes), (Ok(()), 0));
}

/// The same name is any program's: a thread with std's files is such a one.
fn programs_of_std_connect(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let server: Slot<Connected> = Slot::new();
    io.accept_pipe(&name, keep(&server));
    turn(&io, 1);
    let client = std::thread::spawn(move || {
        let mut file = std::fs::File::options().read(true).write(true).open(name).unwrap();
        file.write_all(b"question").unwrap();
        let mut answer = [0; 6];
        file.read_exact(&mut answer).unwrap();
        answer
    });
    drive(&io, || server.len() > 0);
    let server = server.one().unwrap();
    let got: Slot<Done<Vec<u8>>> = Slot::new();
    io.recv_exact(server, vec![0; 8], 8, keep(&got));
    drive(&io, || got.len() > 0);
    assert_eq!(got.one().data(), b"question");
    send(&io, server, "answer");
    drive(&io, || client.is_finished());
    assert_eq!(&client.join().unwrap(), b"answer");
    let end = received(&io, server, 9);
    assert_eq!((end.result, end.bytes), (Ok(()), 0));
}

/// Documented: each side does what its half says, and the other direction is refused.
fn one_way_only(subject: &Subject) {
    let io: Io = subject.io();
    for (end, other) in [(Half::Read, Half::Write), (Half::Write, Half::Read)] {
        for messages in [false, true] {
            let name = name();
            let accept = op::AcceptPipe::new(&name).half(end);
            let accept = if messages { accept.messages() } else { accept };
            let (server, client) = connect(&io, accept, &name, other);
            let (from, to) = if end == Half::Read { (client, server) } else { (server, client) };
            send(&io, from, "one way");
            let got: Slot<Done<Vec<u8>>> = Slot::new();
            io.recv_exact(to, vec![0; 7], 7, keep(&got));
            drive(&io, || got.len() > 0);
            assert_eq!(got.one().data(), b"one way");
            let wrong: Slot<Option<ErrorKind>> = Slot::new();
            let (sent, received) = (wrong.clone(), wrong.clone());
            io.send_all(to, "back", move |_, _, done| sent.put(kind(done.result)));
            io.recv(from, vec![0; 9], move |_, _, done| received.put(kind(done.result)));
            drive(&io, || wrong.len() == 2);
            assert_eq!(wrong.take(), [Some(ErrorKind::BadDescriptor); 2]);
            io.close(server);
            io.close(client);
        }
    }
    idle(&io);
}

/// Documented: a receive brings one message or the rest of one, never more; one without bytes is no end.
fn messages_stay_whole(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let (server, client) = connect(&io, op::AcceptPipe::new(&name).messages(), &name, Half::Both);
    for (from, to) in [(server, client), (client, server)] {
        for message in ["first", "the second is longer", "3"] {
            send(&io, from, message);
        }
        assert_eq!(received(&io, to, 99).data(), b"first");
        assert_eq!(received(&io, to, 7).data(), b"the sec");
        assert_eq!(received(&io, to, 99).data(), b"ond is longer");
        assert_eq!(received(&io, to, 99).data(), b"3");
    }
    // Also when the receive was there before.
    let got: Slot<Done<Vec<u8>>> = Slot::new();
    io.recv(client, vec![0; 3], keep(&got));
    io.recv(client, vec![0; 99], keep(&got));
    turn(&io, 3);
    send(&io, server, "waited for");
    drive(&io, || got.len() == 2);
    let parts: Vec<Vec<u8>> = got.take().into_iter().map(|done| done.data().to_vec()).collect();
    assert_eq!(parts, [b"wai".to_vec(), b"ted for".to_vec()]);
    // std sends one without bytes; it is passed over, whether it waits or is waited for.
    io.close(client);
    idle(&io);
    let other = self::name();
    for waits in [false, true] {
        let server: Slot<Connected> = Slot::new();
        io.submit(op::AcceptPipe::new(&other).messages(), keep(&server));
        turn(&io, 1);
        let mut client = std::fs::File::options().read(true).write(true).open(&other).unwrap();
        drive(&io, || server.len() > 0);
        let server = server.one().unwrap();
        let got: Slot<Done<Vec<u8>>> = Slot::new();
        if waits {
            io.recv(server, vec![0; 9], keep(&got));
            turn(&io, 3);
        }
        assert_eq!(client.write(b"").unwrap(), 0);
        client.write_all(b"text").unwrap();
        if !waits {
            io.recv(server, vec![0; 9], keep(&got));
        }
        drive(&io, || got.len() > 0);
        assert_eq!(got.one().data(), b"text");
        io.close(server);
        idle(&io);
    }
}

/// Documented: each instance has one client, and each client its own.
fn several_clients(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let (servers, clients): (Slot<Connected>, Slot<Connected>) = (Slot::new(), Slot::new());
    for _ in 0..5 {
        io.accept_pipe(&name, keep(&servers));
    }
    turn(&io, 1);
    for _ in 0..5 {
        io.open_fifo(&name, Half::Both, keep(&clients));
    }
    drive(&io, || servers.len() + clients.len() == 10);
    let (servers, clients) = (servers.take(), clients.take());
    for (number, server) in servers.iter().enumerate() {
        send(&io, server.unwrap(), [number as u8]);
    }
    let mut told: Vec<u8> =
        clients.iter().map(|client| received(&io, client.unwrap(), 9).data()[0]).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 4]);
}

/// Documented: while all instances have clients, others wait, can be cancelled, and come in when there is one.
fn clients_wait(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let (server, _client) = connect(&io, op::AcceptPipe::new(&name), &name, Half::Both);
    let waiting: Slot<Connected> = Slot::new();
    let given_up = io.open_fifo(&name, Half::Both, keep(&waiting));
    let late = op::OpenFifo::new(&name, Half::Both).timeout(Duration::from_millis(2));
    io.submit(late, keep(&waiting));
    io.timer(Duration::from_millis(15), move |_, io, _| {
        io.cancel(given_up);
    });
    drive(&io, || waiting.len() == 2);
    let ends = waiting.take().into_iter().map(kind).collect::<Vec<_>>();
    assert_eq!(ends, [Some(ErrorKind::TimedOut), Some(ErrorKind::Cancelled)]);
    io.open_fifo(&name, Half::Both, keep(&waiting));
    turn(&io, 3);
    let next: Slot<Connected> = Slot::new();
    io.accept_pipe(&name, keep(&next));
    drive(&io, || waiting.len() + next.len() == 2);
    send(&io, next.one().unwrap(), "second");
    assert_eq!(received(&io, waiting.one().unwrap(), 9).data(), b"second");
    io.close(server);
}

/// Documented: nobody else can have been there before.
fn first_means_alone(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let ended: Slot<Connected> = Slot::new();
    let waits = io.submit(op::AcceptPipe::new(&name).first(), keep(&ended));
    turn(&io, 1);
    io.submit(op::AcceptPipe::new(&name).first(), keep(&ended));
    drive(&io, || ended.len() > 0);
    let error = ended.one().unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::PermissionDenied, op::Kind::AcceptPipe));
    assert!(io.cancel(waits));
    drive(&io, || ended.len() > 0);
    assert_eq!(kind(ended.one()), Some(ErrorKind::Cancelled));
    idle(&io);
}

/// Documented errors, of both sides.
fn names_that_do_not_work(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let ended: Slot<Connected> = Slot::new();
    io.open_fifo(&name, Half::Both, keep(&ended));
    drive(&io, || ended.len() > 0);
    assert_eq!(kind(ended.one()), Some(ErrorKind::NotFound));
    let program = std::env::current_exe().unwrap();
    io.open_fifo(&program, Half::Read, keep(&ended));
    drive(&io, || ended.len() > 0);
    assert!(kind(ended.one()).is_some());
    for wrong in [PathBuf::from("a\0b"), std::env::temp_dir().join("no pipe")] {
        io.accept_pipe(&wrong, keep(&ended));
        drive(&io, || ended.len() > 0);
        let error = ended.one().unwrap_err();
        assert_eq!(error.operation(), op::Kind::AcceptPipe);
        assert!([ErrorKind::InvalidInput, ErrorKind::InvalidFilename].contains(&error.kind()), "{error}");
    }
}

/// Guarantees 2 to 4: however it ends, the instance goes, and with it the name; nobody is left connected to nothing.
fn cancelled(subject: &Subject) {
    let io: Io = subject.io();
    // What the process opens once is open before the count.
    one_accept(&io, false, 2, 0);
    for comes in [false, true] {
        for (ticks, way) in (0..3).flat_map(|ticks| (0..3).map(move |way| (ticks, way))) {
            let before = descriptors();
            one_accept(&io, comes, ticks, way);
            assert_eq!(descriptors(), before, "{comes} {ticks} {way}");
        }
    }
}

/// An accept for which a client comes or not, and that is cancelled, removed, or late.
fn one_accept(io: &Io, comes: bool, ticks: usize, way: usize) {
    let (name, ended): (_, Slot<Connected>) = (name(), Slot::new());
    let accept = op::AcceptPipe::new(&name);
    let accept = if way == 2 { accept.timeout(Duration::from_micros(1)) } else { accept };
    let id = io.submit(accept, keep(&ended));
    turn(io, ticks);
    let client = comes.then(|| std::fs::File::options().write(true).open(&name)).and_then(Result::ok);
    match way {
        0 => assert_eq!(io.cancel(id), ended.len() == 0),
        1 => assert_eq!(io.remove(id), ended.len() == 0),
        _ => drive(io, || ended.len() > 0),
    }
    idle(io);
    for accepted in ended.take() {
        match accepted {
            Ok(pipe) => io.close(pipe),
            Err(error) => {
                let expected = [ErrorKind::Cancelled, ErrorKind::Cancelled, ErrorKind::TimedOut];
                assert_eq!(error.kind(), expected[way]);
            }
        }
    }
    idle(io);
    drop(client);
    assert!(std::fs::File::options().write(true).open(&name).is_err());
}

/// Guarantee 8: what a client left is received, then the end; who sends to it is told.
fn gone_client(subject: &Subject) {
    let (io, name): (Io, _) = (subject.io(), name());
    let (server, client) = connect(&io, op::AcceptPipe::new(&name), &name, Half::Both);
    io.send_all(client, "left", move |_, io, _| io.close(client));
    drive(&io, || io.in_flight() == 0);
    assert_eq!(received(&io, server, 9).data(), b"left");
    let end = received(&io, server, 9);
    assert_eq!((end.result, end.bytes), (Ok(()), 0));
    let sent: Slot<Done<&str>> = Slot::new();
    io.send_all(server, "to nobody", keep(&sent));
    drive(&io, || sent.len() > 0);
    assert_eq!(kind(sent.one().result), Some(ErrorKind::BrokenPipe));
}
