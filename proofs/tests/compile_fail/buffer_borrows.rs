//! A buffer is moved to the system: a borrowed one could be gone first.
fn main() {
    let io = nbio::EventLoop::<()>::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream: nbio::TcpStream = io.adopt(stream).unwrap();
    let text = String::from("hello");
    io.send_all(stream, text.as_str(), |_, _, _| ());
}
