//! Named pipes: an instance waits for its client.

use std::path::Path;

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Storage::FileSystem::FILE_TYPE_PIPE;
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

use super::backend::CANCELLED;
use super::flights::What;
use super::start::{Begun, outcome};
use super::{Iocp, Open, PortState};
use crate::backend::Outcome;
use crate::backend::windows::descriptor::{as_handle, borrow_handle};
use crate::backend::windows::files::Failure;
use crate::backend::windows::handles::{self, Direction};
use crate::backend::windows::pipe;
use crate::op::PipeHow;

impl Iocp {
    /// Makes an instance, and has it wait.
    pub(super) fn accept_pipe(&mut self, index: u32, name: &Path, how: &PipeHow) -> Begun {
        let made = pipe::instance(name, how).and_then(|instance| {
            self.port.associate(instance.raw()).map_err(Failure::Os)?;
            Ok(instance)
        });
        let instance = match made {
            Ok(instance) => instance,
            Err(failure) => return Begun::Over(outcome(Err(failure))),
        };
        let flight = self.flights.get(index);
        flight.what = What::AcceptPipe;
        flight.descriptor = instance.raw();
        flight.instance = Some(instance);
        let (handle, overlapped) = (as_handle(flight.descriptor), flight.overlapped());
        // SAFETY: the flight keeps instance and OVERLAPPED until the packet.
        if unsafe { ConnectNamedPipe(handle, overlapped) } != 0 {
            return Begun::Flies;
        }
        match std::io::Error::last_os_error().raw_os_error().unwrap_or(0) as u32 {
            win32::ERROR_IO_PENDING => Begun::Flies,
            // The client was faster, or is gone again, and left something to be read: no packet comes.
            win32::ERROR_PIPE_CONNECTED | win32::ERROR_NO_DATA => Begun::Over(self.client_came(index)),
            os => {
                drop(self.flights.get(index).instance.take());
                self.flights.retire(index);
                Begun::Over(Outcome::Failed(os as i32))
            }
        }
    }

    /// The instance is a pipe with somebody at its other end.
    pub(super) fn client_came(&mut self, index: u32) -> Outcome {
        let instance = self.flights.get(index).instance.take().expect("it waited for its client");
        let raw = instance.into_raw();
        self.open.insert(raw, Open { port: PortState::Ours, ..Open::HANDLE });
        // A handle has 32 bits that mean something.
        Outcome::Value(raw as u32)
    }

    /// A message without bytes, or a write of none, is no end of the pipe: the next one's turn.
    pub(super) fn pass_over_nothing(&mut self, index: u32, answer: Outcome) -> Option<Begun> {
        let flight = self.flights.get(index);
        let nothing = matches!((flight.what, answer), (What::Transfer(Direction::Read), Outcome::Value(0)));
        // SAFETY: the packet has come: the system has written its answer and lets go.
        if !nothing || unsafe { (*flight.overlapped()).Internal } != 0 {
            return None;
        }
        let (descriptor, piece) = (flight.descriptor, flight.piece);
        if handles::sort_of_file(borrow_handle(&descriptor)) != FILE_TYPE_PIPE {
            return None;
        }
        if flight.cancelled {
            return Some(Begun::Over(Outcome::Failed(CANCELLED)));
        }
        Some(self.transfer_overlapped(index, Direction::Read, piece, 0))
    }
}
