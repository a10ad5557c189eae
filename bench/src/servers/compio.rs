//! compio on io_uring: a task a connection, one `Vec` that goes round.

use anyhow::Context;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

use super::{BUFFER, Over};

pub fn run() -> anyhow::Result<()> {
    let mut proactor = ProactorBuilder::new();
    proactor.capacity(1024).single_issuer(true).coop_taskrun(true).taskrun_flag(true);
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build().context("building the runtime")?;
    runtime.block_on(async {
        let listener = super::listen()?;
        // The ring waits, not the socket.
        listener.set_nonblocking(false).context("blocking mode")?;
        let listener = TcpListener::from_std(listener).context("registering")?;
        let over = Over::default();
        let ended = over.clone();
        compio::runtime::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                compio::runtime::spawn(echo(stream, over.clone())).detach();
            }
        })
        .detach();
        ended.await;
        Ok(())
    })
}

async fn echo(mut stream: TcpStream, over: Over) {
    let mut buf = Vec::with_capacity(BUFFER);
    loop {
        let (received, mut full) = stream.read(buf).await.into();
        let Ok(received @ 1..) = received else { return };
        full.truncate(received);
        let (sent, back): (std::io::Result<()>, Vec<u8>) = stream.write_all(full).await.into();
        if sent.is_err() {
            return;
        }
        if super::echoed(received) {
            over.tell();
        }
        buf = back;
        buf.clear();
    }
}
