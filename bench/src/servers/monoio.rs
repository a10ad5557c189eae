//! monoio on io_uring: a task a connection, one `Vec` that goes round.

use anyhow::Context;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{BUFFER, Over};

pub fn run() -> anyhow::Result<()> {
    let mut flags = monoio_uring::IoUring::builder();
    flags.setup_single_issuer().setup_defer_taskrun();
    let runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(1024).uring_builder(flags).build();
    runtime.context("building the runtime")?.block_on(async {
        let listener = super::listen()?;
        // The ring waits, not the socket.
        listener.set_nonblocking(false).context("blocking mode")?;
        let listener = TcpListener::from_std(listener).context("registering")?;
        let over = Over::default();
        let ended = over.clone();
        monoio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                monoio::spawn(echo(stream, over.clone()));
            }
        });
        ended.await;
        Ok(())
    })
}

async fn echo(mut stream: TcpStream, over: Over) {
    let mut buf = Vec::with_capacity(BUFFER);
    loop {
        let (received, full) = stream.read(buf).await;
        if !matches!(received, Ok(1..)) {
            return;
        }
        let (sent, back) = stream.write_all(full).await;
        match sent {
            Ok(sent) if super::echoed(sent) => over.tell(),
            Ok(_) => {}
            Err(_) => return,
        }
        buf = back;
    }
}
