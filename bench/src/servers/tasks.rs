//! nbio's tasks: a task a connection, one `Vec` that goes round.

use ::nbio::task::{TcpListener, TcpStream, spawn};
use ::nbio::{Backend, Builder, EventLoop};
use anyhow::Context;

use super::{BUFFER, Over};

pub fn run(backend: Backend) -> anyhow::Result<()> {
    let io: EventLoop = Builder::new().backend(backend).build()?;
    let accepts = async {
        let listener = TcpListener::adopt(super::listen()?)?;
        let over = Over::default();
        let ended = over.clone();
        drop(spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(spawn(echo(stream, over.clone())));
            }
        }));
        ended.await;
        Ok(())
    };
    io.block_on(accepts).context("running")?
}

async fn echo(stream: TcpStream, over: Over) -> Result<(), ::nbio::Error> {
    let mut buf = Vec::with_capacity(BUFFER);
    loop {
        let (received, full) = stream.recv(buf).await?;
        if received == 0 {
            return Ok(());
        }
        let (sent, back) = stream.send_all(full).await?;
        if super::echoed(sent) {
            over.tell();
        }
        buf = back;
    }
}
