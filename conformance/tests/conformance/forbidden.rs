//! Subjects to which the system refuses io_uring: their cases run in a process of their own, this same program again under a
//! filter (seccomp(2)) from its first thread on, as in a container. It is asked for what its parent is asked for,
//! and tells the results one by one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::child::{apart, forbid};
use crate::system::{Errno, SYS_io_uring_setup};

/// Set in such a process: which subject it is for.
const VARIABLE: &str = "NBIO_CONFORMANCE_FORBIDDEN";

/// Around the parts of a line that tells a result, among whatever else is printed; and for the ends of a message's lines.
const SEPARATOR: char = '\u{1e}';
const END_OF_LINE: char = '\u{1f}';

/// The subject that this process is for, if it is for one.
pub fn own() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// Before there is another thread: from now on io_uring is refused to this process and those it starts.
pub fn enter(errno: Errno) {
    forbid(SYS_io_uring_setup, errno);
}

/// Tells the parent how a case ended.
pub fn tell(label: &str, result: &Result<(), String>) {
    let message = match result {
        Ok(()) => String::new(),
        Err(message) => format!("{SEPARATOR}{}", message.replace('\n', &END_OF_LINE.to_string())),
    };
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{SEPARATOR}{label}{message}").and_then(|()| out.flush()).is_err() {
        // Nobody is left to tell.
        std::process::exit(1);
    }
}

/// A subject's process, which is started when the first result is wanted.
pub struct Forbidden {
    subject: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    started: bool,
    /// How it ended.
    ended: Option<String>,
    results: HashMap<String, Result<(), String>>,
}

impl Forbidden {
    pub fn new(subject: &'static str) -> Arc<Forbidden> {
        Arc::new(Forbidden { subject, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Waits for the result of a case.
    pub fn result(self: &Arc<Forbidden>, label: &str) -> Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.started, true) {
            let process = self.clone();
            std::thread::spawn(move || {
                let ended = apart(|| process.go());
                process.change(|state| state.ended = Some(ended));
            });
        }
        loop {
            if let Some(result) = state.results.remove(label) {
                return result;
            }
            if let Some(ended) = &state.ended {
                return Err(format!("its process has told nothing of it: {ended}"));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the end of the process, if it was started.
    pub fn join(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.started && state.ended.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the process and takes in what it tells; how it ended.
    fn go(&self) -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(std::env::args_os().skip(1)).env(VARIABLE, self.subject);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return format!("it can't be started: {error}"),
        };
        let lines = BufReader::new(child.stdout.take().expect("asked for")).split(b'\n');
        for line in lines.map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let mut parts = line.split(SEPARATOR).skip(1);
            let Some(label) = parts.next() else { continue };
            let message = parts.next().map(|message| message.replace(END_OF_LINE, "\n"));
            let result = message.map_or(Ok(()), Err);
            self.change(|state| _ = state.results.insert(label.to_owned(), result));
        }
        child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}
