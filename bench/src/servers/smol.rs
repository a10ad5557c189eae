//! smol: a task a connection on a local executor, async-io's reactor turned by the same thread.

use std::net::TcpStream;
use std::rc::Rc;

use anyhow::Context;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};

use super::{BUFFER, Over};

pub fn run() -> anyhow::Result<()> {
    let listener = Async::new(super::listen()?).context("adopting the listener")?;
    let executor = Rc::new(LocalExecutor::new());
    let over = Over::default();
    smol::block_on(executor.run(async {
        let (spawner, ended) = (executor.clone(), over.clone());
        executor
            .spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    spawner.spawn(serve(stream, ended.clone())).detach();
                }
            })
            .detach();
        over.await;
    }));
    Ok(())
}

async fn serve(mut stream: Async<TcpStream>, over: Over) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if super::echoed(count) {
            over.tell();
        }
    }
}
