//! nbio: a completion-based I/O event loop.

mod backend;
mod buf;
mod builder;
mod engine;
mod error;
mod event_loop;
mod handle;
pub mod op;
mod options;
mod report;
mod time;

pub use backend::{OwnedDescriptor, RawDescriptor};
pub use buf::{Buffers, IoBuf, IoBufMut, Lent, Slice};
pub use builder::{Backend, Builder};
pub use error::{Error, ErrorKind};
pub use event_loop::{EventLoop, Rejected};
pub use handle::{Handle, OpId, TcpListener, TcpStream};
pub use op::{Accepted, Done, Event, Half, ManyOperation, Operation};
pub use options::{Keepalive, Linger, ListenOptions, TcpOptions};
pub use report::{Report, Support};
pub use time::Instant;
