//! kimojio on io_uring: a task a connection.

use anyhow::anyhow;
use kimojio::configuration::Configuration;
use kimojio::operations::{accept, read, spawn_task, write};
use kimojio::{OwnedFd, Runtime};

use super::{BUFFER, Over};

pub fn run() -> anyhow::Result<()> {
    let listener = super::listen()?;
    // Its ring can't wait for a socket that isn't ready otherwise.
    listener.set_nonblocking(false)?;
    let mut runtime = Runtime::new(0, Configuration::new());
    let ended = runtime.block_on(async move {
        let over = Over::default();
        let ended = over.clone();
        spawn_task(async move {
            while let Ok(stream) = accept(&listener).await {
                spawn_task(serve(stream, ended.clone()));
            }
        });
        over.await;
    });
    match ended {
        None | Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(anyhow!("kimojio's main task panicked")),
    }
}

async fn serve(stream: OwnedFd, over: Over) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = read(&stream, &mut buffer).await {
        let mut sent = 0;
        while sent < count {
            match write(&stream, &buffer[sent..count]).await {
                Ok(more) => sent += more,
                Err(_) => return,
            }
        }
        if super::echoed(count) {
            over.tell();
        }
    }
}
