//! HTTP/1.1 and HTTP/2 by hyper on nbio: `cargo run --features hyper --example http [address]`.
//!
//! `GET /` greets, `POST /echo` sends back what it is sent, chunk by chunk, `GET /bytes/N` sends N zeros, and `POST /count`
//! says how many bytes it was sent. `curl --http2-prior-knowledge` speaks HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use nbio::task::{Hyper, Io, TcpListener, TcpStream, block_on, spawn};

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address =
        std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into()).parse::<std::net::SocketAddr>()?;
    Ok(block_on(listen(address))??)
}

async fn listen(address: std::net::SocketAddr) -> Result<(), nbio::Error> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_address()?);
    loop {
        let (stream, _) = listener.accept().await?;
        drop(spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{error}");
            }
        }));
    }
}

async fn serve(stream: TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    let mut io = Io::new(stream);
    // The first bytes say which version it is; they stay in the buffer.
    let begin = |bytes: &[u8]| (bytes.is_empty(), bytes.starts_with(b"PRI * HTTP/2.0"));
    let (nothing, second) = std::future::poll_fn(|context| io.poll_fill(context).map_ok(begin)).await?;
    let service = service_fn(answer);
    if second {
        http2::Builder::new(Hyper::new()).timer(Hyper::new()).serve_connection(io, service).await?;
    } else if !nothing {
        http1::Builder::new().timer(Hyper::new()).serve_connection(io, service).await?;
    }
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    let bytes = path.strip_prefix("/bytes/").and_then(|number| number.parse().ok());
    Ok(match (request.method(), path.as_str(), bytes) {
        (&Method::GET, "/", _) => text("hello\n"),
        (&Method::POST, "/echo", _) => Response::new(request.into_body().boxed_unsync()),
        (&Method::GET, _, Some(left)) => {
            Response::new(Zeros(left).map_err(|never| match never {}).boxed_unsync())
        }
        (&Method::POST, "/count", _) => {
            let (mut body, mut count) = (request.into_body(), 0);
            while let Some(frame) = body.frame().await {
                count += frame?.data_ref().map_or(0, Bytes::len);
            }
            text(format!("{count}\n"))
        }
        _ => {
            let mut missing = text("not found\n");
            *missing.status_mut() = StatusCode::NOT_FOUND;
            missing
        }
    })
}

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

/// So many zeros, in pieces.
struct Zeros(u64);

static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let count = self.0.min(PIECE.len() as u64);
        self.0 -= count;
        let piece = Bytes::from_static(&PIECE[..count as usize]);
        Poll::Ready((count > 0).then(|| Ok(Frame::data(piece))))
    }
}
