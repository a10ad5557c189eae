//! The readiness engine as a backend.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Waker;
use std::time::Duration;

use rustix::io::Errno;

use super::selector::Selector;
use super::shots::Place;
use super::{MOST_UNASKED, Readiness};
use crate::backend::syscall::Syscall;
use crate::backend::unix;
use crate::backend::{Backend, Completion, Description, Loose, RawDescriptor, Shot, Token};
use crate::op::Kind;
use crate::report::Support;
use crate::{Error, Instant};

impl<S: Selector> Backend for Readiness<S> {
    fn submit(&mut self, shot: Shot<'_>) {
        debug_assert!(!shot.readiness_only, "no shot here answers that it would have to wait");
        let call = Syscall::of(&shot);
        self.shots.insert(shot.token, shot.descriptor, shot.means, shot.lingers, call);
        self.fresh.push_back(shot.token);
    }

    fn cancel(&mut self, token: Token, _: bool) {
        if !self.has(token) {
            // Its completion is on its way.
            return;
        }
        let shot = self.shots.get(token.index);
        let ended = match shot.place {
            // As on io_uring, which begins with what it is given before it looks at a cancel.
            Place::Fresh => {
                shot.unwanted = true;
                false
            }
            Place::Pool(ticket) => {
                shot.unwanted = true;
                self.landing.as_ref().is_some_and(|landing| landing.withdraw(ticket))
            }
            _ => {
                self.unpark(token.index);
                true
            }
        };
        if ended {
            self.end_unwanted(token.index);
        }
    }

    fn wait(&mut self, limit: Option<Duration>, out: &mut VecDeque<Completion>) -> Result<(), Error> {
        self.try_fresh();
        self.take_landed();
        self.try_paused();
        let asks = self.done.is_empty() || limit == Some(Duration::ZERO) || self.unasked == MOST_UNASKED;
        self.unasked = if asks { 0 } else { self.unasked + 1 };
        let end = limit.filter(|_| self.done.is_empty()).map(|limit| Instant::system() + limit);
        let mut waits = asks;
        while waits {
            let pause = self.pause();
            let left = match end {
                _ if !self.done.is_empty() => Some(Duration::ZERO),
                None => pause,
                Some(end) => Some((end - Instant::system()).min(pause.unwrap_or(Duration::MAX))),
            };
            let woken = match self.selector.wait(left, &mut self.news) {
                Ok(woken) => woken,
                Err(Errno::INTR) => false,
                Err(errno) => return Err(Error::from_os(errno.raw_os_error(), Kind::Tick)),
            };
            self.hear_all();
            self.take_landed();
            self.try_paused();
            let late = end.is_some_and(|end| Instant::system() >= end);
            waits = self.done.is_empty() && !woken && !late;
        }
        if out.is_empty() {
            std::mem::swap(out, &mut self.done);
        } else {
            out.append(&mut self.done);
        }
        Ok(())
    }

    fn waker(&mut self) -> Result<Waker, Error> {
        self.selector.waker().map_err(|errno| Error::from_os(errno.raw_os_error(), Kind::Remote))
    }

    fn now(&self) -> Instant {
        Instant::system()
    }

    fn attach(&mut self, descriptor: OwnedFd) -> RawDescriptor {
        let descriptor = unix::attach(descriptor);
        self.descriptors.of(descriptor).foreign = true;
        descriptor
    }

    fn attach_any(&mut self, descriptor: OwnedFd, _: Kind) -> Result<(RawDescriptor, bool), Error> {
        let lingers = unix::lingers(descriptor.as_fd());
        Ok((self.attach(descriptor), lingers))
    }

    fn can_wait(&mut self, descriptor: RawDescriptor) -> Result<bool, Error> {
        Ok(!self.descriptors.of(descriptor).always)
    }

    fn detach(&mut self, descriptor: RawDescriptor) -> Result<OwnedFd, Error> {
        let changed = self.descriptors.of(descriptor).changed;
        self.forget(descriptor);
        if changed {
            // Whoever gets it expects it as io_uring would have left it.
            let _ = rustix::io::ioctl_fionbio(unix::borrow(&descriptor), false);
        }
        Ok(unix::detach(descriptor))
    }

    fn hand_out(&mut self, descriptor: RawDescriptor) -> Result<Loose, Error> {
        self.forget(descriptor);
        Ok(Loose::System(unix::detach(descriptor)))
    }

    fn close_now(&mut self, descriptor: RawDescriptor) {
        let pooled = self.descriptors.of(descriptor).pooled > 0;
        self.forget(descriptor);
        let descriptor = unix::detach(descriptor);
        if pooled {
            // A thread of the pool may be about to use the number: it must not become another's.
            std::mem::forget(descriptor);
        }
    }

    fn describe(&self) -> Description {
        Description { name: S::NAME, features: Vec::new(), substituted: 0 }
    }

    fn support(&self, kind: Kind) -> Support {
        match kind {
            Kind::Shutdown | Kind::Close => Support::Direct,
            Kind::Timer | Kind::Interval | Kind::NextTick => Support::Engine,
            Kind::SendFile | Kind::Splice | Kind::ReadFile | Kind::WriteFile => Support::Composed,
            Kind::Accept
            | Kind::RecvMany
            | Kind::AcceptMany
            | Kind::Connect
            | Kind::ConnectUnix
            | Kind::Recv
            | Kind::RecvVectored
            | Kind::Send
            | Kind::SendVectored
            | Kind::RecvFrom
            | Kind::RecvMsg
            | Kind::SendTo
            | Kind::SendDatagram
            | Kind::SendMsg
            | Kind::RecvRecord
            | Kind::RecvRecordVectored
            | Kind::SendRecord
            | Kind::SendRecordVectored
            | Kind::RecvFds
            | Kind::SendFds
            | Kind::Poll
            | Kind::PollMany => Support::Readiness,
            Kind::AcceptPipe => Support::Unsupported,
            _ => Support::Pool,
        }
    }
}

impl<S> Drop for Readiness<S> {
    fn drop(&mut self) {
        for shot in self.shots.all() {
            let unasked = match (shot.place, &self.landing) {
                (Place::Pool(ticket), Some(landing)) => landing.withdraw(ticket),
                _ => true,
            };
            shot.call.abandon();
            // The descriptor was given to this backend to close.
            if unasked && matches!(shot.call, Syscall::Close) {
                drop(unix::detach(shot.descriptor));
            }
        }
    }
}
