//! What may go to other threads, checked by the compiler.

use std::rc::Rc;

use nbio::{Builder, Error, KeepAlive, OpId, Refused, Remote, TcpListener, TcpStream, WhenFull, op};

fn is_send<T: Send>() {}
fn is_shared<T: Send + Sync>() {}

#[test]
fn the_compiler_lets_these_through() {
    // Whatever the loop's state is: it stays with the loop.
    is_shared::<Remote<Rc<u8>>>();
    is_shared::<Remote<&mut u8>>();
    is_shared::<KeepAlive>();
    is_shared::<WhenFull>();
    is_shared::<Refused<Vec<u8>>>();
    is_shared::<(Builder, Error, OpId, TcpListener, TcpStream)>();
    // Operations, if their buffers are.
    is_send::<(op::Accept, op::Connect, op::Shutdown, op::Close<TcpStream>)>();
    is_send::<(op::Timer, op::Interval, op::NextTick)>();
    is_send::<(op::Recv<Vec<u8>>, op::Send<&'static str>)>();
    is_send::<(op::RecvVectored<[Vec<u8>; 2]>, op::SendVectored<Vec<String>>)>();
}
