//! runite on io_uring: a task a connection.

use anyhow::Context;
use runite::io::{AsyncReadExt, AsyncWriteExt};
use runite::net::{TcpListener, TcpStream};

use super::{BUFFER, Over};

pub fn run() -> anyhow::Result<()> {
    let listener = super::listen()?;
    runite::block_on(async {
        let listener = TcpListener::from_std(listener).context("adopting the listener")?;
        let over = Over::default();
        let ended = over.clone();
        let _accepting = runite::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(runite::spawn(serve(stream, ended.clone())));
            }
        });
        over.await;
        Ok(())
    })
}

async fn serve(mut stream: TcpStream, over: Over) {
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
