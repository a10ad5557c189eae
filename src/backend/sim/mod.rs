//! A system of nbio's own, in memory: a loopback network and a virtual clock, with everything that a real system
//! leaves open (order, delays, how much moves at once) drawn from one seed.
//!
//! All loops of one simulation share one [`World`] behind a lock. A loop turns it when it waits: whatever is due
//! happens, and if that brings the loop nothing, the clock jumps to the next event or to the end of the wait.

mod access;
mod datagram;
mod disk;
mod draw;
mod files;
mod memory;
mod network;
mod options;
mod stream;
mod world;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::{
    Backend, Calls, Completer, Completion, Description, Loose, Outcome, OwnedDescriptor, RawDescriptor, Shot,
    Token, Work as Job,
};
use crate::engine::op::Op;
use crate::handle::HandleKind;
use crate::op::{Half, Kind};
use crate::report::Support;
use crate::simulation::{DatagramFaults, DiskFaults};
use crate::{Error, ErrorKind, Instant, ListenOptions, TcpOptions, UdpOptions};

pub(crate) use access::Access;
use datagram::Letter;
pub(crate) use disk::CopyOrder;
use files::FileWork;
use memory::Memory;
use world::{Place, Work, World};

/// What a simulation is: the world, and a bell for loops that wait for another thread's doings.
pub(crate) struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Shared {
        Shared { world: Mutex::new(World::new(seed)), changed: Condvar::new() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // No user code runs under the lock; after a failed assertion the world is as good as it was.
        self.world.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// As `world`, for what happens to other loops at once and not when this one next waits: those that sleep look again.
    fn disturb<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let result = act(&mut self.world());
        self.changed.notify_all();
        result
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.world().now)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.world().digest
    }

    pub(crate) fn open_files(&self) -> usize {
        self.world().disk.open_files()
    }

    pub(crate) fn crash(&self) {
        self.disturb(World::crash);
    }

    pub(crate) fn set_datagram_faults(&self, faults: DatagramFaults) {
        self.world().datagrams.faults = faults;
    }

    pub(crate) fn set_disk_faults(&self, faults: DiskFaults) {
        self.world().disk.faults = faults;
    }
}

/// One loop's door to the world.
pub(crate) struct Sim {
    shared: Arc<Shared>,
    /// Its number there.
    part: usize,
}

impl Sim {
    pub(crate) fn new(shared: Arc<Shared>) -> Sim {
        let part = shared.world().add_loop();
        Sim { shared, part }
    }

    fn call<T>(&self, kind: Kind, call: impl FnOnce(&mut World) -> Result<T, ErrorKind>) -> Result<T, Error> {
        call(&mut self.shared.world()).map_err(|error| Error::new(error, kind))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let jobs = self.shared.disturb(|world| world.remove_loop(self.part));
        // Not under the lock, which they take.
        drop(jobs);
    }
}

/// A socket between two loops.
pub(crate) struct LooseSocket {
    shared: Arc<Shared>,
    /// `None` once another loop has it.
    number: Option<usize>,
}

impl Drop for LooseSocket {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.disturb(|world| world.close(number));
        }
    }
}

impl fmt::Debug for LooseSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LooseSocket").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What other threads wake a loop with.
struct Bell {
    shared: Arc<Shared>,
    part: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.disturb(|world| world.loops[self.part].woken = true);
    }
}

fn unsupported<T>(kind: Kind) -> Result<T, Error> {
    Err(Error::new(ErrorKind::Unsupported, kind))
}

impl Backend for Sim {
    fn submit(&mut self, shot: Shot<'_>) {
        let address = || shot.address.expect("accept and connect have room for an address");
        let work = match shot.op {
            Op::Accept { .. } => Work::Accept(Place(address())),
            // SAFETY: the slot's scratch block, which the engine has written.
            Op::Connect => Work::Connect(unsafe { address().as_ref() }.get().expect("an address of IP")),
            Op::Close => Work::Close,
            op @ (Op::Recv { .. } | Op::RecvVectored { .. } | Op::RecvMany { .. }) => {
                Work::Receive(Memory::of(op, shot.moved).expect("a receive has memory"))
            }
            op @ (Op::Send { .. } | Op::SendVectored { .. }) => {
                Work::Send(Memory::of(op, shot.moved).expect("a send has memory"))
            }
            Op::RecvMessage { envelope, .. } => Work::ReceiveDatagram(Letter::of(envelope)),
            Op::SendMessage { envelope, .. } => Work::SendDatagram(Letter::of(envelope)),
            Op::RecvFds { .. } | Op::SendFds { .. } => {
                unreachable!("nothing makes a Unix socket's handle here")
            }
            op @ (Op::Path(_)
            | Op::ReadAt { .. }
            | Op::ReadAtVectored { .. }
            | Op::WriteAt { .. }
            | Op::WriteAtVectored { .. }
            | Op::Sync { .. }
            | Op::Truncate { .. }
            | Op::Allocate { .. }) => Work::File(FileWork::of(op, shot.moved).expect("one of files")),
            Op::Poll { .. } => unreachable!("the engine refuses it"),
            Op::Shutdown(_) | Op::Timer(_) | Op::NextTick | Op::Blocking { .. } | Op::Steps(_) => {
                unreachable!("the engine does these itself, or gives them to `offload`")
            }
        };
        assert!(!shot.readiness_only, "nothing here is in non-blocking mode");
        self.shared.world().submit(self.part, shot.token, shot.descriptor as usize, work);
    }

    fn cancel(&mut self, token: Token, _: bool) {
        self.shared.world().cancel(self.part, token);
    }

    /// No other thread: the job runs where its result is wanted, on the loop's thread.
    fn offload(&mut self, job: Arc<dyn Job>, completer: Completer) -> u64 {
        self.shared.world().add_job(self.part, job, completer)
    }

    fn withdraw(&mut self, ticket: u64) -> bool {
        // What is dropped with it takes the lock.
        let job = self.shared.world().jobs.remove(&ticket);
        job.is_some()
    }

    fn wait(&mut self, limit: Option<Duration>, out: &mut VecDeque<Completion>) -> Result<(), Error> {
        let mut world = self.shared.world();
        let end = limit.map(|limit| (Instant::from_nanos(world.now) + limit).nanos());
        // The clock doesn't go to the far future: a wait until then has no end.
        let end = end.filter(|&end| end < u64::MAX || world.now == u64::MAX);
        world.turn();
        loop {
            let part = &mut world.loops[self.part];
            let woken = std::mem::take(&mut part.woken);
            let something = woken || !part.ready.is_empty() || !part.due.is_empty();
            if something || end.is_some_and(|end| world.now >= end) {
                break;
            }
            match [world.next_event(), end].into_iter().flatten().min() {
                Some(at) => world.jump(at),
                // Only another thread can bring anything now.
                None if world.alone(self.part) => return Err(Error::new(ErrorKind::Deadlock, Kind::Tick)),
                None => {
                    self.shared.changed.notify_all();
                    world = self.shared.changed.wait(world).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
            }
        }
        if world.loops.len() > 1 {
            self.shared.changed.notify_all();
        }
        let part = &mut world.loops[self.part];
        out.append(&mut part.ready);
        let (due, unlocks) = (std::mem::take(&mut part.due), world.disk.unlocks);
        // A job of nbio's own uses the disk, and the completer may ring this loop's bell: both take the lock.
        drop(world);
        for (ticket, job) in due {
            if job.task.attempt() {
                (job.completer)(Outcome::Ran);
            } else {
                self.shared.world().park_job(ticket, job, unlocks);
            }
        }
        Ok(())
    }

    fn jobs(&self) -> usize {
        self.shared.world().jobs_of(self.part)
    }

    fn access(&mut self, descriptor: Option<RawDescriptor>) -> Option<Access> {
        let file = descriptor.map(|descriptor| self.shared.world().network.file(descriptor as usize));
        Some(Access::new(&self.shared, file))
    }

    fn second_file(&mut self, descriptor: RawDescriptor) -> Option<RawDescriptor> {
        Some(self.shared.world().second_file(descriptor as usize) as RawDescriptor)
    }

    fn waker(&mut self) -> Result<Waker, Error> {
        Ok(Arc::new(Bell { shared: self.shared.clone(), part: self.part }).into())
    }

    fn expect_wakes(&mut self, expected: bool) {
        self.shared.world().loops[self.part].expects_wakes = expected;
    }

    fn now(&self) -> Instant {
        self.shared.now()
    }

    fn close_now(&mut self, descriptor: RawDescriptor) {
        self.shared.disturb(|world| world.close(descriptor as usize));
    }

    fn attach(&mut self, _: OwnedDescriptor) -> RawDescriptor {
        unreachable!("`check` has refused it")
    }

    fn detach(&mut self, _: RawDescriptor) -> Result<OwnedDescriptor, Error> {
        unsupported(Kind::Release)
    }

    fn hand_out(&mut self, descriptor: RawDescriptor) -> Result<Loose, Error> {
        let socket = LooseSocket { shared: self.shared.clone(), number: Some(descriptor as usize) };
        Ok(Loose::Simulated(socket))
    }

    fn take_in(&mut self, loose: Loose) -> Result<RawDescriptor, (Error, Loose)> {
        match loose {
            Loose::Simulated(mut socket) if Arc::ptr_eq(&socket.shared, &self.shared) => {
                let number = socket.number.take().expect("taken here only");
                Ok(number as RawDescriptor)
            }
            _ => Err((Error::new(ErrorKind::Unsupported, Kind::Attach), loose)),
        }
    }

    fn describe(&self) -> Description {
        Description { name: "sim", features: vec!["virtual clock"], substituted: 0 }
    }

    fn support(&self, kind: Kind) -> Support {
        match kind {
            Kind::Timer | Kind::Interval | Kind::NextTick => Support::Engine,
            Kind::Splice | Kind::SendFile | Kind::ReadFile | Kind::WriteFile => Support::Composed,
            Kind::Accept | Kind::AcceptMany | Kind::Connect | Kind::Close => Support::Simulated,
            Kind::Shutdown | Kind::Blocking | Kind::Resolve => Support::Simulated,
            Kind::Recv | Kind::RecvVectored | Kind::RecvMany => Support::Simulated,
            Kind::Send | Kind::SendVectored => Support::Simulated,
            Kind::Open | Kind::Stat | Kind::Read | Kind::ReadAt | Kind::ReadAtVectored => Support::Simulated,
            Kind::Write | Kind::WriteAt | Kind::WriteAtVectored | Kind::Seek => Support::Simulated,
            Kind::Fsync | Kind::Fdatasync | Kind::Truncate | Kind::Allocate => Support::Simulated,
            Kind::Rename | Kind::Unlink | Kind::Rmdir | Kind::Mkdir => Support::Simulated,
            Kind::Link | Kind::Symlink | Kind::ReadLink | Kind::ReadDir => Support::Simulated,
            Kind::RecvFrom | Kind::RecvMsg | Kind::SendTo | Kind::SendDatagram | Kind::SendMsg => {
                Support::Simulated
            }
            Kind::Lock | Kind::Unlock | Kind::CopyFile => Support::Simulated,
            _ => Support::Unsupported,
        }
    }
}

impl Calls for Sim {
    fn listen(&mut self, address: SocketAddr, options: &ListenOptions) -> Result<RawDescriptor, Error> {
        self.call(Kind::Listen, |world| world.listen(address, options)).map(|number| number as RawDescriptor)
    }

    fn stream_socket(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        options: &TcpOptions,
    ) -> Result<RawDescriptor, Error> {
        let socket = self.call(Kind::Connect, |world| world.stream_socket(to, from, options));
        socket.map(|number| number as RawDescriptor)
    }

    fn set_tcp_options(&mut self, descriptor: RawDescriptor, options: &TcpOptions) -> Result<(), Error> {
        let set = self.shared.disturb(|world| world.set_options(descriptor as usize, options));
        set.map_err(|error| Error::new(error, Kind::SetOptions))
    }

    fn tcp_options(&mut self, descriptor: RawDescriptor) -> Result<TcpOptions, Error> {
        let options = self.call(Kind::GetOptions, |world| world.options(descriptor as usize))?;
        Ok(options.get())
    }

    fn bind_udp(&mut self, address: SocketAddr, options: &UdpOptions) -> Result<RawDescriptor, Error> {
        self.call(Kind::BindUdp, |world| world.bind_udp(address, options))
            .map(|number| number as RawDescriptor)
    }

    fn connect_udp(&mut self, descriptor: RawDescriptor, to: SocketAddr) -> Result<(), Error> {
        self.call(Kind::ConnectUdp, |world| world.connect_udp(descriptor as usize, to))
    }

    fn disconnect_udp(&mut self, descriptor: RawDescriptor) -> Result<(), Error> {
        self.shared.world().disconnect_udp(descriptor as usize);
        Ok(())
    }

    fn set_udp_options(&mut self, descriptor: RawDescriptor, options: &UdpOptions) -> Result<(), Error> {
        self.call(Kind::SetUdpOptions, |world| world.set_udp_options(descriptor as usize, options))
    }

    fn udp_options(&mut self, descriptor: RawDescriptor) -> Result<UdpOptions, Error> {
        Ok(self.shared.world().udp_options(descriptor as usize))
    }

    fn local_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        self.call(Kind::LocalAddress, |world| {
            world.local_address(descriptor as usize).ok_or(ErrorKind::NotConnected)
        })
    }

    fn peer_address(&mut self, descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
        self.call(Kind::PeerAddress, |world| {
            world.peer_address(descriptor as usize).ok_or(ErrorKind::NotConnected)
        })
    }

    fn shutdown(&mut self, descriptor: RawDescriptor, half: Half) -> Result<(), Error> {
        let shut = self.shared.disturb(|world| world.shutdown(descriptor as usize, half));
        shut.map_err(|error| Error::new(error, Kind::Shutdown))
    }

    fn check(&mut self, _: &OwnedDescriptor, _: HandleKind) -> Result<bool, Error> {
        unsupported(Kind::Adopt)
    }

    fn raw(&mut self, _: RawDescriptor) -> Result<RawDescriptor, Error> {
        unsupported(Kind::Raw)
    }

    fn duplicate(&mut self, _: RawDescriptor) -> Result<OwnedDescriptor, Error> {
        unsupported(Kind::Duplicate)
    }
}
