//! Tokio: current_thread runtime, a task per connection.

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::BUFFER;

pub fn run() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("building the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(super::listen()?).context("registering")?;
        // Accepting in a task of its own: `block_on`'s own future is polled
        // more often than the tasks are.
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.context("accept")?;
                tokio::spawn(echo(stream));
            }
        })
        .await
        .context("the accept task")?
    })
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = Box::new([0; BUFFER]);
    // An error ends this connection only, like the end of its stream.
    while let Ok(count @ 1..) = stream.read(&mut buffer[..]).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
