//! calloop: an edge-triggered source for each connection.

use std::net::TcpStream;

use anyhow::{Context, anyhow};
use calloop::generic::Generic;
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

use super::edge::{Connection, Outcome};

/// What the callbacks share: whether the server is to end.
type Ended = bool;

pub fn run() -> anyhow::Result<()> {
    let mut event_loop = EventLoop::<Ended>::try_new().context("setting up the loop")?;
    let handle = event_loop.handle();
    let source = Generic::new(super::listen()?, Interest::READ, Mode::Level);
    let adder = handle.clone();
    handle
        .insert_source(source, move |_, listener, _| {
            while let Ok((stream, _)) = listener.accept() {
                add(&adder, stream).map_err(std::io::Error::other)?;
            }
            Ok(PostAction::Continue)
        })
        .map_err(|error| anyhow!("registering the listener: {error}"))?;
    let mut ended = false;
    while !ended {
        event_loop.dispatch(None, &mut ended).context("dispatching")?;
    }
    Ok(())
}

fn add(handle: &LoopHandle<'static, Ended>, stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nonblocking(true)?;
    let mut connection = Connection::new(stream.try_clone()?);
    let source = Generic::new(stream, Interest::BOTH, Mode::Edge);
    handle
        .insert_source(source, move |_, _, ended| {
            // It doesn't tell whether the peer has closed: so ask until there is nothing more.
            Ok(match connection.progress(true) {
                Outcome::Open => PostAction::Continue,
                Outcome::Over => PostAction::Remove,
                Outcome::End => {
                    *ended = true;
                    PostAction::Continue
                }
            })
        })
        .map_err(|error| anyhow!("registering a connection: {error}"))?;
    Ok(())
}
