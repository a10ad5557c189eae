//! Connects to a server that may not be up yet, sends it a text and prints what comes back:
//! `cargo run --example connect ADDRESS TEXT`, with the example `echo` at the other end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use nbio::{Error, EventLoop, Operation, TcpStream, op};

const TRIES: u32 = 6;
/// The pause after the first failure; each further one is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long one try may take, and how long the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the callbacks share.
struct Client {
    server: SocketAddr,
    text: String,
    outcome: Result<String, String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, text] = arguments.as_slice() else { return fail("usage: connect ADDRESS TEXT") };
    let Ok(server) = server.parse() else { return fail("the address must be like 127.0.0.1:8080") };
    match talk(server, text.clone()) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("connect: {message}");
    ExitCode::FAILURE
}

fn talk(server: SocketAddr, text: String) -> Result<String, String> {
    let mut client = Client { server, text, outcome: Err("no answer".into()) };
    let io = EventLoop::new().map_err(|error| error.to_string())?;
    connect(&client, &io, 1);
    io.run_with(&mut client).map_err(|error| error.to_string())?;
    client.outcome
}

fn connect(client: &Client, io: &EventLoop<Client>, nth: u32) {
    let connect = op::Connect::new(client.server).timeout(PATIENCE);
    io.submit(connect, move |client, io, connected| on_connect(client, io, nth, connected));
}

fn on_connect(client: &mut Client, io: &EventLoop<Client>, nth: u32, connected: Result<TcpStream, Error>) {
    match connected {
        Ok(stream) => ask(client, io, stream),
        Err(error) if nth < TRIES => {
            let pause = FIRST_PAUSE * 2_u32.pow(nth - 1);
            eprintln!("try {nth}: {error}; again in {pause:?}");
            io.timer(pause, move |client, io, _| connect(client, io, nth + 1));
        }
        Err(error) => client.outcome = Err(format!("{} after {TRIES} tries: {error}", client.server)),
    }
}

fn ask(client: &Client, io: &EventLoop<Client>, stream: TcpStream) {
    let text = client.text.clone();
    // Both directions at once. If the send fails, so does the receive, which tells the reason.
    let answer = op::Recv::new(stream, Vec::with_capacity(text.len())).exact(text.len()).timeout(PATIENCE);
    io.send_all(stream, text, |_, _, _| ());
    io.submit(answer, move |client, io, done| {
        io.close(stream);
        client.outcome = match done.result {
            Ok(()) => Ok(String::from_utf8_lossy(done.data()).into_owned()),
            Err(error) => Err(error.to_string()),
        };
    });
}
