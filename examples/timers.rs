//! One-shot timers, an interval, a watchdog that is reset, a timer that is cancelled: `cargo run --example timers`.

use std::time::Duration;

use nbio::{Error, Event, EventLoop, Instant, OpId};

/// What the callbacks share.
struct Show {
    start: Instant,
    /// The heartbeat and what watches over it, to be cancelled and reset by callbacks.
    heartbeat: Option<OpId>,
    watchdog: Option<OpId>,
    beats: u64,
}

impl Show {
    fn say(&self, io: &EventLoop<Show>, text: &str) {
        println!("{:>4} ms  {text}", (io.now() - self.start).as_millis());
    }
}

fn main() -> Result<(), Error> {
    let io = EventLoop::new()?;
    let mut show = Show { start: io.now(), heartbeat: None, watchdog: None, beats: 0 };

    // A callback never runs in the call that submits its operation; this one runs in the loop's next turn.
    io.next_tick(|show: &mut Show, io, _| show.say(io, "the loop runs"));

    // Nobody waits an hour here: it is cancelled below, and its callback is told so.
    let hour = io.timer(Duration::from_secs(3600), |show, io, ended| match ended {
        Ok(()) => show.say(io, "an hour has passed"),
        Err(error) => show.say(io, &format!("not waiting an hour: {error}")),
    });
    io.timer(Duration::from_millis(100), move |show, io, _| {
        show.say(io, "one-shot, cancels the hour");
        io.cancel(hour);
    });

    // An interval calls the same closure again and again, and once more when it has ended.
    show.heartbeat = Some(io.interval(Duration::from_millis(150), |show, io, event| match event {
        Event::Item(_) => on_beat(show, io),
        Event::End(_) => show.say(io, "the heart has stopped"),
    }));
    // It would bark after 250 ms, but every beat resets it.
    let watchdog = io.timer(Duration::from_millis(250), |show, io, _| show.say(io, "the watchdog barks"));
    show.watchdog = Some(watchdog);

    // Returns when nothing is left to wait for.
    io.run_with(&mut show)
}

fn on_beat(show: &mut Show, io: &EventLoop<Show>) {
    show.beats += 1;
    show.say(io, &format!("beat {}", show.beats));
    if let Some(watchdog) = show.watchdog {
        io.reset(watchdog, Duration::from_millis(250));
    }
    if let Some(heartbeat) = show.heartbeat
        && show.beats == 4
    {
        io.cancel(heartbeat);
    }
}
