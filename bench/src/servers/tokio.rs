//! Tokio: current_thread runtime, a task per connection.

use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::BUFFER;

pub fn run() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("building the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(super::listen()?).context("registering")?;
        // Accepting in a task of its own: `block_on`'s own future is polled
        // more often than the tasks are.
        tokio::spawn(async move {
            let over = Arc::new(Notify::new());
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.context("accept")?,
                    () = over.notified() => return Ok(()),
                };
                tokio::spawn(echo(stream, over.clone()));
            }
        })
        .await
        .context("the accept task")?
    })
}

async fn echo(mut stream: TcpStream, over: Arc<Notify>) {
    let mut buffer = Box::new([0; BUFFER]);
    // An error ends this connection only, like the end of its stream.
    while let Ok(count @ 1..) = stream.read(&mut buffer[..]).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if super::echoed(count) {
            return over.notify_one();
        }
    }
}
