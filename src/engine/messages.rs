//! Messages, judged: datagrams and records, which come and go in one piece.

use super::Engine;
use super::op::{End, Got, Op, Unit};
use crate::backend::{Arrival, Delivery};
use crate::udp::RecvControl;
use crate::{Error, ErrorKind};

impl Engine {
    /// A message went, or came, or there will be none any more.
    pub(super) fn message_moved(&mut self, index: u32, bytes: usize) -> Option<Error> {
        let header = self.slots.header_mut(index);
        header.moved = bytes;
        let (room, came, unit) = match &header.op {
            Op::RecvMessage { envelope, unit, .. } => {
                (envelope.length(), bytes > 0 || envelope.is_told(), *unit)
            }
            Op::RecvFds { into, passing, unit, .. } => {
                passing.arrived();
                (into.length, bytes > 0 || passing.is_told(), *unit)
            }
            Op::SendMessage { envelope, unit } => (envelope.length(), true, *unit),
            Op::SendFds { length, unit, .. } => (*length, true, *unit),
            _ => unreachable!("it moves messages"),
        };
        assert!(bytes <= room, "the system moved more than it was given");
        // The system says something of every record, be it empty, but nothing of the end.
        if came || unit != Unit::Record {
            if let Op::RecvMessage { got, .. } | Op::RecvFds { got, .. } = &mut header.op {
                *got = Got::Message;
            }
            return None;
        }
        let (handle, kind) = (header.handle, header.kind);
        self.note_end(index);
        let was_reset = self.handles.entry(handle).was_reset;
        was_reset.then(|| Error::new(ErrorKind::ConnectionReset, kind))
    }

    /// A receive of a record finds that there will be no more.
    pub(super) fn note_end(&mut self, index: u32) {
        if let Op::RecvMessage { got, .. } | Op::RecvFds { got, .. } = &mut self.slots.header_mut(index).op {
            *got = Got::End;
        }
    }

    /// What a receive of a message, or of bytes with descriptors, brought.
    pub(super) fn message_end(&mut self, index: u32, end: &mut End) {
        let header = self.slots.header(index);
        let well = header.error.is_none();
        match header.op {
            Op::RecvFds { ref passing, unit, got, .. } => {
                // SAFETY: it has ended, so the backend has let go.
                let Delivery { descriptors, lost, truncated, from } = unsafe { passing.take() };
                end.set_descriptors(descriptors, lost);
                end.end_of_stream = well && (got == Got::End || unit == Unit::Bytes && header.moved == 0);
                if got == Got::Message {
                    end.set_unix_peer((unit == Unit::LocalDatagram).then(|| from.unwrap_or_default()));
                    end.message = Some((truncated, RecvControl::default()));
                }
            }
            Op::RecvMessage { ref envelope, unit, got: Got::Message } => {
                let Arrival { from, local, truncated, control } = envelope.arrival();
                end.peer = from;
                // One without a name tells none.
                end.set_unix_peer((unit == Unit::LocalDatagram).then(|| local.unwrap_or_default()));
                end.message = Some((truncated, control));
            }
            Op::RecvMessage { got, .. } => end.end_of_stream = well && got == Got::End,
            _ => {}
        }
    }
}
