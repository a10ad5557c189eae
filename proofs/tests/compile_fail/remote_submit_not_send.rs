//! What goes to another thread is `Send`: the operation's buffer too.
use std::rc::Rc;

fn submit(remote: nbio::Remote, stream: nbio::TcpStream, shared: Rc<[u8]>) {
    let _ = remote.submit(nbio::op::Send::new(stream, shared), |_, _, _| ());
}

fn main() {}
