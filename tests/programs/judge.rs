//! The oracle: whether what happens can be, given what was asked.

use nbio::{Error, ErrorKind, Half};

use super::content::Moved;
use super::world::{End, Guard, Inner, Io, Name, Peer, Record, What};

/// An item of a repeating operation.
pub fn item(guard: &Guard, periods: u64) {
    let at = guard.operation;
    guard.world.note("item", Some(at), None, periods);
    let live = guard.world.inner.borrow().records[at].is_live();
    guard.world.check(live && periods > 0, || format!("an item of #{at}: live {live}, periods {periods}"));
}

/// Bytes came out of a stream.
pub fn received(guard: &Guard, data: &[u8]) {
    let mut inner = guard.world.inner.borrow_mut();
    let end = inner.records[guard.operation].end;
    if let Some(end) = end {
        inner.ends[end].received.extend_from_slice(data);
    }
}

/// Bytes went into a stream.
pub fn sent(guard: &Guard, bytes: usize) {
    let mut inner = guard.world.inner.borrow_mut();
    if let Some(end) = inner.records[guard.operation].end {
        let mut sends = inner.ends[end].sends.iter_mut();
        let sent = sends.find(|sent| sent.number == guard.operation);
        sent.expect("every send is listed").moved = Moved::Known(bytes);
    }
}

/// An operation has called back for the last time.
pub fn ended(guard: &Guard, io: &Io, bytes: usize, result: Result<(), Error>) {
    let (world, at) = (&guard.world, guard.operation);
    world.note_result("ended", Some(at), None, bytes as u64, result.err().map(|error| error.kind()));
    let now = io.now();
    let verdict = {
        let inner = world.inner.borrow();
        let record = &inner.records[at];
        let verdict = whole_verdict(
            &inner,
            at,
            world.coarse.get() || record.tick < world.tick.get(),
            bytes,
            result,
            now,
        );
        verdict.map_err(|what| format!("#{at} ended with {bytes} bytes, {result:?}: {what}\n{record:?}"))
    };
    {
        let mut inner = world.inner.borrow_mut();
        inner.records[at].ended = true;
        if matches!(inner.records[at].what, What::Send { length, .. } if 0 < bytes && bytes < length) {
            mark_behind(&mut inner, at);
        }
    }
    if let Err(what) = verdict {
        world.fail(|| what);
    }
}

/// Guarantee 7: what waits behind a send that was cut moves nothing and ends `Cancelled`.
fn mark_behind(inner: &mut Inner, at: usize) {
    let Some(end) = inner.records[at].end else { return };
    for &other in inner.ends[end].lanes[1].iter().skip_while(|&&other| other != at) {
        // Only what is there already: what is submitted from here on is a new beginning.
        inner.records[other].behind_cut |= inner.records[other].is_live();
    }
}

fn whole_verdict(
    inner: &Inner,
    at: usize,
    later: bool,
    bytes: usize,
    result: Result<(), Error>,
    now: nbio::Instant,
) -> Verdict {
    let record = &inner.records[at];
    ensure(!record.ended, "called back a second time")?;
    ensure(!record.removed, "was removed and called back")?;
    ensure(!record.behind_cut || (bytes == 0 && result.is_err()), "a send in front of it was cut")?;
    ensure(later, "called back in the tick that it was submitted in")?;
    ensure(!result.is_err_and(|error| is_early(&error, record, now)), "before its deadline")?;
    judge(inner, record, bytes, result, now)?;
    in_turn(inner, at, bytes, result)
}

/// A `TimedOut` that comes too early, or to an operation without a deadline.
fn is_early(error: &Error, record: &Record, now: nbio::Instant) -> bool {
    error.kind() == ErrorKind::TimedOut && record.limit.is_none_or(|limit| now < limit)
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn judge(
    inner: &Inner,
    record: &Record,
    bytes: usize,
    result: Result<(), Error>,
    now: nbio::Instant,
) -> Verdict {
    let end = record.end.map(|end| &inner.ends[end]);
    match result {
        Ok(()) => {
            ensure(record.name == Name::Good && !record.bad_input, "bad input or a bad name was accepted")?;
            well(inner, record, end, bytes, now)
        }
        Err(error) => {
            unfinished(record, bytes)?;
            refused(record, error.kind())?;
            badly(inner, record, end, error)
        }
    }
}

/// What can be when all went well.
fn well(inner: &Inner, record: &Record, end: Option<&End>, bytes: usize, now: nbio::Instant) -> Verdict {
    match record.what {
        What::Receive { whole: Some(want), .. } => ensure(bytes == want, "not exactly what was wanted"),
        What::Receive { whole: None, room } => {
            let over = end.is_none_or(|end| may_be_over(inner, end));
            ensure(bytes <= room && (bytes > 0 || over), "nothing, and not the end of the stream")
        }
        What::Send { whole: true, length } => ensure(bytes == length, "not all was sent"),
        What::Send { whole: false, length } => {
            ensure(bytes <= length && (bytes > 0 || length == 0), "nothing was sent")
        }
        What::Timer { due } => ensure(now >= due, "a timer was early"),
        What::Interval => Err("an interval ends with an error only".into()),
        _ => Ok(()),
    }
}

/// An operation that did all it was asked ends well.
fn unfinished(record: &Record, bytes: usize) -> Verdict {
    match record.what {
        // One of no bytes waits its turn like any other.
        What::Receive { whole: Some(0), .. } | What::Send { length: 0, .. } => {
            ensure(bytes == 0, "from nowhere")
        }
        What::Receive { whole: Some(want), .. } => ensure(bytes < want, "all had come"),
        What::Receive { whole: None, .. } | What::Send { whole: false, .. } => {
            ensure(bytes == 0, "some had moved, which was all that was asked")
        }
        What::Send { whole: true, length } => ensure(bytes < length, "all was sent"),
        _ => Ok(()),
    }
}

/// Bad names and bad input are told as such.
fn refused(record: &Record, kind: ErrorKind) -> Verdict {
    let right = match record.name {
        Name::Good => !matches!(kind, ErrorKind::StaleHandle | ErrorKind::WrongLoop),
        Name::Stale => {
            kind == ErrorKind::StaleHandle || (record.bad_input && kind == ErrorKind::InvalidInput)
        }
        Name::Foreign => kind == ErrorKind::WrongLoop,
    };
    ensure(right, "the error doesn't fit the handle")?;
    let bad = record.bad_input && record.name == Name::Good;
    ensure(bad == (kind == ErrorKind::InvalidInput) || record.name != Name::Good, "input is good or bad")
}

/// What can be when it ended otherwise.
fn badly(inner: &Inner, record: &Record, end: Option<&End>, error: Error) -> Verdict {
    let moves = matches!(record.what, What::Receive { .. } | What::Send { .. });
    let lane = match record.what {
        What::Receive { .. } => 0,
        _ => 1,
    };
    match error.kind() {
        ErrorKind::Cancelled => {
            let cut = lane == 1 && end.is_some_and(was_cut);
            ensure(record.asked || cut, "nobody asked for it")?;
            ensure(error.os_error().is_none(), "nbio's own error has a number")
        }
        // Looked at before.
        ErrorKind::TimedOut | ErrorKind::StaleHandle | ErrorKind::WrongLoop | ErrorKind::InvalidInput => {
            Ok(())
        }
        ErrorKind::Broken => ensure(end.is_some_and(|end| end.removed[lane]), "nothing was removed"),
        ErrorKind::UnexpectedEof => {
            let over = end.is_some_and(|end| may_be_over(inner, end));
            ensure(lane == 0 && moves && over, "the stream was not over")
        }
        ErrorKind::ConnectionReset | ErrorKind::NotConnected => {
            let gone = end.is_some_and(|end| {
                // Both have ended their sending halves: the connection is over, and shutdown(2) says so.
                let over = end.shut[1] && may_be_over(inner, end);
                peer_may_be_gone(inner, end) || (over && error.kind() == ErrorKind::NotConnected)
            });
            ensure(gone || matches!(record.what, What::Connect) && inner.listener_closed, "nobody reset it")
        }
        ErrorKind::BrokenPipe => {
            let gone = end.is_some_and(|end| end.shut[1] || peer_may_be_gone(inner, end));
            ensure(gone && matches!(record.what, What::Send { .. }), "the pipe was whole")
        }
        ErrorKind::ConnectionRefused => {
            ensure(matches!(record.what, What::Connect) && inner.listener_closed, "somebody listened")
        }
        _ => Err("no reason for such an error".into()),
    }
}

/// A send on this end was cut short, or may have been.
fn was_cut(end: &End) -> bool {
    let cut = |sent: &super::content::Sent| match sent.moved {
        Moved::Known(moved) => 0 < moved && moved < sent.length,
        Moved::Unknown => true,
    };
    end.sends.iter().any(cut)
}

fn peer_may_be_gone(inner: &Inner, end: &End) -> bool {
    match end.peer {
        Peer::Unknown | Peer::Thread(_) => true,
        // Data for a stream whose halves are both shut down is answered with a reset.
        Peer::End(peer) => [&inner.ends[peer], end].iter().any(|end| end.closed || end.shut == [true; 2]),
    }
}

fn may_be_over(inner: &Inner, end: &End) -> bool {
    let ended = match end.peer {
        Peer::Unknown | Peer::Thread(_) => true,
        Peer::End(peer) => inner.ends[peer].shut[1],
    };
    ended || end.shut[0] || peer_may_be_gone(inner, end)
}

/// Whoever had its turn comes after all that were submitted before it in its direction.
fn in_turn(inner: &Inner, at: usize, bytes: usize, result: Result<(), Error>) -> Verdict {
    let record = &inner.records[at];
    let Some(end) = record.end.map(|end| &inner.ends[end]) else { return Ok(()) };
    let lane = match record.what {
        What::Receive { .. } => 0,
        What::Send { .. } | What::Shutdown(Half::Write | Half::Both) => 1,
        _ => return Ok(()),
    };
    let had_turn =
        bytes > 0 || result.is_ok_and(|()| true) || result.is_err_and(|error| is_of_the_system(&error));
    if !had_turn {
        return Ok(());
    }
    let before = end.lanes[lane].iter().take_while(|&&other| other != at);
    match before.copied().find(|&other| inner.records[other].is_live()) {
        None => Ok(()),
        Some(other) => Err(format!("#{other} was submitted before it and has not ended")),
    }
}

/// An error that only an operation whose turn came can meet.
fn is_of_the_system(error: &Error) -> bool {
    let kind = error.kind();
    error.os_error().is_some() || matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
