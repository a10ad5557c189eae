//! The rules of kqueue: what a change does, and which events there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::c_int;

use super::abi::*;
use super::faults::{Faults, take_refusal};
use super::look::{self, Kind, Progress, Ready};
use super::{Profile, last_error, profile};

/// "A kevent is identified by an (ident, filter) pair and specifies the interesting conditions to be notified about for
/// that pair. An (ident, filter) pair can only appear once in a given kqueue."
type Key = (usize, i16);

struct Knote {
    /// As of its creation; those that are for one change only are taken out.
    flags: u16,
    fflags: u32,
    data: i64,
    udata: usize,
    enabled: bool,
    /// It is in the list of what may have an event.
    queued: bool,
    /// `EVFILT_USER`.
    triggered: bool,
}

/// An open file that knotes of one descriptor are about.
struct Item {
    /// Tells it from earlier ones of the same number.
    serial: u32,
    kind: Kind,
    progress: Progress,
    /// epoll doesn't take it: device and inode.
    unwatched: Option<(u64, u64)>,
}

pub(super) struct Queue {
    epoll: c_int,
    pub(super) process: u32,
    profile: Profile,
    pub(super) faults: Faults,
    knotes: BTreeMap<Key, Knote>,
    items: HashMap<c_int, Item>,
    next_serial: u32,
    /// What may have an event, in the order in which that was noticed.
    queued: VecDeque<Key>,
    /// Eventfds that end the waits which go on.
    bells: Vec<c_int>,
}

const BELL: u64 = u64::MAX;

/// Everything, so that an item never needs to be changed: that would repeat its edges.
const EDGES: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

impl Queue {
    pub(super) fn new(epoll: c_int) -> Queue {
        Queue {
            epoll,
            process: std::process::id(),
            profile: profile(),
            faults: Faults::of_thread(),
            knotes: BTreeMap::new(),
            items: HashMap::new(),
            next_serial: 0,
            queued: VecDeque::new(),
            bells: Vec::new(),
        }
    }

    /// Applies changes; what is to be told of them.
    pub(super) fn apply(&mut self, changes: &[kevent], room: usize) -> Result<Vec<kevent>, c_int> {
        let mut told = Vec::new();
        for change in changes {
            let result = self.register(change);
            let error = result.err().unwrap_or(0);
            // "EV_RECEIPT: […] When a filter is successfully added the data field will be zero."
            if error == 0 && change.flags & EV_RECEIPT == 0 {
                continue;
            }
            if told.len() < room {
                // FreeBSD leaves nothing of the change's flags: whether it was an EV_DELETE can't be seen.
                let kept = if self.profile == Profile::MacOs { change.flags & !EV_SYSFLAGS } else { 0 };
                told.push(kevent { flags: kept | EV_ERROR, data: error.into(), ..*change });
            } else if error != 0 {
                // "Otherwise, -1 will be returned, and errno will be set": the changes behind it are not applied.
                return Err(error);
            } else if self.profile != Profile::MacOs {
                // A receipt without room ends the call on FreeBSD.
                return Ok(Vec::new());
            }
        }
        Ok(told)
    }

    fn register(&mut self, change: &kevent) -> Result<(), c_int> {
        let known = match change.filter {
            EVFILT_READ | EVFILT_WRITE => true,
            EVFILT_USER => self.profile != Profile::NetBsd,
            EVFILT_EXCEPT => self.profile == Profile::MacOs,
            _ => false,
        };
        if !known {
            return Err(libc::EINVAL);
        }
        let key = (change.ident, change.filter);
        if change.filter != EVFILT_USER {
            let descriptor = c_int::try_from(change.ident).map_err(|_| libc::EBADF)?;
            // What was closed has no knotes any more, even if the number is in use again.
            self.refresh(descriptor)?;
        }
        let exists = self.knotes.contains_key(&key);
        if !exists && change.flags & EV_ADD == 0 {
            return Err(libc::ENOENT);
        }
        if exists && change.flags & EV_DELETE != 0 {
            self.remove(key);
            return if self.faults.was_deleted() { Err(libc::ENOENT) } else { Ok(()) };
        }
        if exists {
            self.modify(key, change);
        } else {
            self.attach(key, change)?;
        }
        self.activate_if_ready(key);
        Ok(())
    }

    /// A new knote.
    fn attach(&mut self, key: Key, change: &kevent) -> Result<(), c_int> {
        take_refusal()?;
        if change.filter != EVFILT_USER {
            self.watch(change.ident as c_int, change.filter)?;
        }
        let momentary = EV_SYSFLAGS | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_RECEIPT;
        // macOS shows EV_ADD in the events, FreeBSD doesn't.
        let momentary = if self.profile == Profile::MacOs { momentary } else { momentary | EV_ADD };
        // "NOTE_TRIGGER: Cause the event to be triggered." FreeBSD clears fflags before the filter sees them, so in the
        // change that adds the event it does nothing.
        let triggers = change.filter == EVFILT_USER && change.fflags & NOTE_TRIGGER != 0;
        let fflags =
            if change.filter == EVFILT_USER { change.fflags & NOTE_FFLAGSMASK } else { change.fflags };
        let knote = Knote {
            flags: change.flags & !momentary,
            fflags,
            data: change.data,
            udata: change.udata.addr(),
            // "Adding an event automatically enables it, unless overridden by the EV_DISABLE flag."
            enabled: change.flags & EV_DISABLE == 0,
            queued: false,
            triggered: triggers && self.profile == Profile::MacOs,
        };
        self.knotes.insert(key, knote);
        Ok(())
    }

    /// "Re-adding an existing event will modify the parameters of the original event, and not result in a duplicate
    /// entry": `udata`, `fflags` and `data`, but not how it is told (EV_CLEAR, EV_ONESHOT, EV_DISPATCH), and a disabled
    /// one stays so without EV_ENABLE.
    fn modify(&mut self, key: Key, change: &kevent) {
        let profile = self.profile;
        let knote = self.knotes.get_mut(&key).expect("it exists");
        // Any change does this, also one that only triggers.
        knote.udata = change.udata.addr();
        if change.flags & EV_ENABLE != 0 {
            knote.enabled = true;
        } else if change.flags & EV_DISABLE != 0 {
            knote.enabled = false;
        }
        knote.data = change.data;
        if change.filter != EVFILT_USER {
            knote.fflags = change.fflags;
            return;
        }
        let flags = change.fflags & NOTE_FFLAGSMASK;
        match change.fflags & NOTE_FFCTRLMASK {
            NOTE_FFAND => knote.fflags &= flags,
            NOTE_FFOR => knote.fflags |= flags,
            NOTE_FFCOPY => knote.fflags = flags,
            control => debug_assert_eq!(control, NOTE_FFNOP),
        }
        knote.triggered |= change.fflags & NOTE_TRIGGER != 0;
        // On FreeBSD a change with EV_CLEAR takes back the trigger, its own too.
        if profile != Profile::MacOs && change.flags & EV_CLEAR != 0 {
            knote.triggered = false;
        }
    }

    fn remove(&mut self, key: Key) {
        if self.knotes.remove(&key).is_some_and(|knote| knote.queued) {
            self.queued.retain(|queued| *queued != key);
        }
    }

    /// Every change asks the filter again, whatever it was told before.
    fn activate_if_ready(&mut self, key: Key) {
        if self.knotes[&key].enabled && self.look(key).is_some() {
            self.activate(key);
            self.ring();
        }
    }

    fn activate(&mut self, key: Key) {
        let Some(knote) = self.knotes.get_mut(&key) else { return };
        if knote.enabled && !knote.queued {
            knote.queued = true;
            self.queued.push_back(key);
        }
    }

    fn look(&self, key: Key) -> Option<Ready> {
        let knote = &self.knotes[&key];
        if key.1 == EVFILT_USER {
            let ready = Ready { data: knote.data, eof: false, fflags: knote.fflags };
            return knote.triggered.then_some(ready);
        }
        let descriptor = key.0 as c_int;
        let kind = self.items[&descriptor].kind;
        look::look(kind, descriptor, key.1, knote.fflags, knote.data)
    }

    /// At most so many events.
    pub(super) fn scan(&mut self, room: usize) -> Vec<kevent> {
        self.harvest();
        let mut events = Vec::new();
        let room = self.faults.portion(room);
        let turn = self.faults.turn(self.queued.len());
        self.queued.rotate_left(turn);
        events.extend(self.spurious());
        for _ in 0..self.queued.len() {
            if events.len() >= room {
                break;
            }
            let Some(key) = self.queued.pop_front() else { break };
            if !events.is_empty() && key.1 == EVFILT_READ && self.faults.holds_back() {
                self.queued.push_back(key);
                continue;
            }
            self.knotes.get_mut(&key).expect("those in the list are there").queued = false;
            events.extend(self.take(key));
        }
        events
    }

    /// The event of a knote, if it has one, and what becomes of the knote then.
    fn take(&mut self, key: Key) -> Option<kevent> {
        // "Calling close() on a file descriptor will remove any kevents that reference the descriptor."
        if key.1 != EVFILT_USER && self.refresh(key.0 as c_int).is_err() {
            return None;
        }
        let knote = self.knotes.get(&key)?;
        if !knote.enabled {
            return None;
        }
        let event = self.event(key, self.look(key)?);
        let knote = self.knotes.get_mut(&key)?;
        if knote.flags & EV_ONESHOT != 0 {
            // "After the user retrieves the event from the kqueue, it is deleted."
            self.remove(key);
            return Some(event);
        }
        if knote.flags & EV_CLEAR != 0 {
            // "After the event is retrieved by the user, its state is reset."
            knote.triggered = false;
            if key.1 == EVFILT_USER && self.profile != Profile::MacOs {
                (knote.fflags, knote.data) = (0, 0);
            }
        }
        if knote.flags & EV_DISPATCH != 0 {
            // "Disable the event source immediately after delivery of an event."
            knote.enabled = false;
        }
        // "The filter is also run when the user attempts to retrieve the kevent from the kqueue": what isn't reset is
        // told again for as long as it is so.
        if knote.flags & (EV_CLEAR | EV_DISPATCH) == 0 {
            self.activate(key);
        }
        Some(event)
    }

    fn event(&self, key: Key, ready: Ready) -> kevent {
        let knote = &self.knotes[&key];
        let eof = if ready.eof { EV_EOF } else { 0 };
        kevent {
            ident: key.0,
            filter: key.1,
            flags: knote.flags | eof,
            fflags: ready.fflags,
            data: ready.data,
            udata: std::ptr::without_provenance_mut(knote.udata),
            ext: [0; 4],
        }
    }

    /// A fault: an event of something that isn't ready. `EVFILT_USER` has none. Not with macOS's profile: it could hide that
    /// an event is missing, so one of them goes without.
    fn spurious(&mut self) -> Option<kevent> {
        if self.profile == Profile::MacOs {
            return None;
        }
        let at = self.faults.spurious(self.knotes.len())?;
        let (key, knote) = self.knotes.iter().nth(at)?;
        let (key, enabled) = (*key, knote.enabled && knote.flags & (EV_ONESHOT | EV_DISPATCH) == 0);
        if !enabled || knote.queued || key.1 == EVFILT_USER || self.refresh(key.0 as c_int).is_err() {
            return None;
        }
        let is_untrue = self.knotes.contains_key(&key) && self.look(key).is_none();
        is_untrue.then(|| self.event(key, Ready::default()))
    }

    /// Notices that a descriptor was closed since its knotes were made, though its open file may live on in others. An
    /// error if the descriptor is none.
    fn refresh(&mut self, descriptor: c_int) -> Result<(), c_int> {
        let is_open = look::kind(descriptor, self.profile).map(|_| ());
        let Some(item) = self.items.get(&descriptor) else { return is_open };
        // epoll knows the pair of number and open file, so adding it once more tells whether it is the same still.
        let same = match item.unwatched {
            Some(identity) => look::identity(descriptor) == Some(identity),
            None => self.add(descriptor, 0, BELL) == Err(libc::EEXIST),
        };
        if !same {
            if item.unwatched.is_none() {
                // If that was an open file of its own, it is added now, for nobody. What is closed can't be taken out.
                self.drop_from_epoll(descriptor);
            }
            self.items.remove(&descriptor);
            for filter in [EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT] {
                self.remove((descriptor as usize, filter));
            }
        }
        is_open
    }

    /// Lets epoll watch a descriptor; an error if it can have no knote of this filter.
    fn watch(&mut self, descriptor: c_int, filter: i16) -> Result<(), c_int> {
        let kind = look::kind(descriptor, self.profile)?;
        // Where nobody reads any more (FreeBSD: filt_pipeattach; older macOS likewise).
        if matches!(kind, Kind::Pipe | Kind::DeafFifo)
            && filter == EVFILT_WRITE
            && look::has_no_reader(descriptor)
        {
            return Err(libc::EPIPE);
        }
        // "Note that this filter is not supported for vnodes."
        if kind == Kind::File && filter != EVFILT_READ {
            return Err(libc::EINVAL);
        }
        if self.items.contains_key(&descriptor) {
            return Ok(());
        }
        self.next_serial = self.next_serial.wrapping_add(1) % (u32::MAX - 1);
        let serial = self.next_serial;
        let data = u64::from(serial) << 32 | descriptor as u64;
        let unwatched = match self.add(descriptor, EDGES, data) {
            Ok(()) => None,
            // The same open file had this number before, was closed there, and lives on in another descriptor.
            Err(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, descriptor, EDGES, data)?;
                None
            }
            Err(libc::EPERM) if kind == Kind::File => look::identity(descriptor),
            // A device without a filter, such as /dev/null.
            Err(libc::EPERM) if self.profile == Profile::MacOs => return Err(libc::EINVAL),
            Err(libc::EPERM) => return Err(libc::ENODEV),
            Err(errno) => return Err(errno),
        };
        let item = Item { serial, kind, progress: Progress::default(), unwatched };
        self.items.insert(descriptor, item);
        Ok(())
    }

    fn add(&self, descriptor: c_int, events: u32, data: u64) -> Result<(), c_int> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, events, data)
    }

    fn control(&self, operation: c_int, descriptor: c_int, events: u32, data: u64) -> Result<(), c_int> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: a plain system call; `event` outlives it.
        let done = unsafe { libc::epoll_ctl(self.epoll, operation, descriptor, &raw mut event) };
        if done < 0 { Err(last_error()) } else { Ok(()) }
    }

    fn drop_from_epoll(&self, descriptor: c_int) {
        // SAFETY: a plain system call without memory.
        unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) };
    }

    /// Takes over what epoll has noticed.
    fn harvest(&mut self) {
        const MOST: usize = 64;
        let mut edges = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        loop {
            // SAFETY: `edges` has room for MOST.
            let count = unsafe { libc::epoll_wait(self.epoll, edges.as_mut_ptr(), MOST as c_int, 0) };
            let count = usize::try_from(count).unwrap_or(0);
            for edge in &edges[..count] {
                self.take_edge(edge.events, edge.u64);
            }
            if count < MOST {
                return;
            }
        }
    }

    fn take_edge(&mut self, edge: u32, data: u64) {
        let (descriptor, serial) = (data as u32 as c_int, (data >> 32) as u32);
        let is_current = |item: &Item| item.serial == serial;
        if data == BELL || !self.items.get(&descriptor).is_some_and(is_current) {
            return;
        }
        if self.refresh(descriptor).is_err() {
            return;
        }
        let Some(item) = self.items.get_mut(&descriptor) else { return };
        let (read, write) = item.progress.note(descriptor, edge);
        let has = |bits: c_int| edge & bits as u32 != 0;
        let ident = descriptor as usize;
        let end = libc::EPOLLHUP | libc::EPOLLERR;
        if read && has(libc::EPOLLIN | libc::EPOLLRDHUP | end) {
            self.activate((ident, EVFILT_READ));
        }
        if write && has(libc::EPOLLOUT | end) {
            self.activate((ident, EVFILT_WRITE));
        }
        if has(libc::EPOLLPRI) {
            self.activate((ident, EVFILT_EXCEPT));
        }
    }

    /// What lets a change by another thread end the wait that is about to begin; `None` if no descriptor is left for it.
    pub(super) fn hang_bell(&mut self) -> Option<c_int> {
        // SAFETY: a plain system call without memory.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return None;
        }
        self.bells.push(bell);
        if self.add(bell, libc::EPOLLIN as u32, BELL).is_err() {
            self.take_bell(Some(bell));
            return None;
        }
        Some(bell)
    }

    pub(super) fn take_bell(&mut self, bell: Option<c_int>) {
        let Some(bell) = bell else { return };
        self.bells.retain(|hanging| *hanging != bell);
        self.drop_from_epoll(bell);
        // SAFETY: `hang_bell` made it, and it was in the list until now.
        unsafe { libc::close(bell) };
    }

    fn ring(&self) {
        for bell in &self.bells {
            let one = 1u64;
            // SAFETY: eight bytes of a number that outlives the call; the bells are open while they are in the list.
            unsafe { libc::write(*bell, (&raw const one).cast(), size_of::<u64>()) };
        }
    }
}
