//! Objects that can be waited for, the thread pool that waits for them, and connects that somebody else began, in the kernel in
//! miniature.
//!
//! The pool's thread is one of the model's: [`serve_waits`]. **It is no kinder than the real one**: it may be anywhere between
//! its wake and the end of a callback when a wait is unregistered. A signal that it has not noticed by then is lost to it, and a
//! callback that it is about to call is called.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

use super::{
    complain, kernel, step, Code, OwnedSocket, Socket, State, HANDLE, SOCKET, WSAECONNREFUSED,
};
use crate::hooks::sync::lock;

const ERROR_INVALID_HANDLE: Code = 6;
const ERROR_IO_PENDING: Code = 997;

/// A connect that somebody else began, as its socket knows it.
#[derive(Debug, Default)]
pub(super) struct ForeignConnect {
    pub(super) under_way: bool,
    /// How it has ended.
    ended: Option<Result<(), Code>>,
    /// The event that its end signals.
    event: Option<usize>,
    /// The same end, until it was told.
    record: Option<Result<(), Code>>,
}

/// An event, or another object that can be waited for.
#[derive(Debug, Default)]
struct Event {
    /// How many handles of it are open.
    handles: usize,
    /// How often it is signalled.
    signals: usize,
    /// A wait takes the signal that ends it.
    counts: bool,
}

impl Event {
    /// Ends a wait, if it is signalled.
    fn take(&mut self) -> bool {
        let signalled = self.signals > 0;
        if signalled && self.counts {
            self.signals -= 1;
        }
        signalled
    }
}

/// How far a wait is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    /// Its callback is about to be called, or is being called.
    Called,
    /// And has nothing more to do than to release its reference.
    Returns,
    Done,
}

#[derive(Debug)]
struct Registered {
    event: usize,
    handle: usize,
    context: usize,
    stage: Stage,
    /// It goes with its callback.
    unregistered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    events: Vec<Event>,
    waits: BTreeMap<usize, Registered>,
    callbacks: BTreeMap<usize, Callback>,
    last: usize,
    last_handle: usize,
    /// The blocks that are alive.
    blocks: BTreeSet<usize>,
    /// No more signals will come.
    over: bool,
    /// The end of an operation has signalled an event right now.
    pub(super) rings: bool,
}

type Called = unsafe fn(*mut c_void);

#[derive(Clone, Copy)]
struct Callback(Called);

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

impl Pool {
    pub(super) fn expect_empty(&self) {
        assert!(self.waits.is_empty(), "left over: a wait");
        assert!(self.blocks.is_empty(), "left over: a block");
        let closed = self.events.iter().all(|event| event.handles == 0);
        assert!(closed, "left over: an event");
    }

    /// An operation has ended that has an event.
    pub(super) fn signal(&mut self, event: usize) {
        self.events[event].signals = 1;
        self.rings = true;
    }

    fn new_handle(&mut self) -> usize {
        self.last_handle += 1;
        self.last_handle
    }

    fn next_due(&self) -> Option<usize> {
        let due =
            |wait: &Registered| wait.stage == Stage::Waits && self.events[wait.event].signals > 0;
        let mut waits = self.waits.iter();
        waits.find(|(_, wait)| due(wait)).map(|(&number, _)| number)
    }
}

// What a model does as the machine and the peers.

/// A socket whose connect somebody else has begun.
pub(crate) fn connecting_socket() -> super::net::TcpStream {
    let socket = step(|state| {
        let socket = state.open(0);
        state.sockets[socket].foreign.under_way = true;
        socket
    });
    super::net::TcpStream::from(OwnedSocket(SOCKET(socket)))
}

/// Ends such a connect.
pub(crate) fn end_foreign_connect(socket: SOCKET, well: bool) {
    step(|state| {
        let Socket {
            connected, foreign, ..
        } = &mut state.sockets[socket.0];
        let ended = if well { Ok(()) } else { Err(WSAECONNREFUSED) };
        *connected = well;
        foreign.under_way = false;
        foreign.ended = Some(ended);
        if let Some(event) = foreign.event {
            foreign.record = Some(ended);
            state.pool.events[event].signals = 1;
        }
    });
    kernel().due.notify_all();
}

/// An object of the user's. A wait takes the signal that ends it (`counts`), or the object stays signalled.
pub(crate) fn open_object(counts: bool) -> HANDLE {
    HANDLE(step(|state| {
        state.pool.events.push(Event {
            handles: 1,
            signals: 0,
            counts,
        });
        state.pool.events.len() - 1
    }))
}

pub(crate) fn signal_object(object: HANDLE) {
    step(|state| {
        let event = &mut state.pool.events[object.0];
        event.signals = if event.counts { event.signals + 1 } else { 1 };
    });
    kernel().due.notify_all();
}

/// How many signals nobody has taken.
pub(crate) fn signals_of(object: HANDLE) -> usize {
    step(|state| state.pool.events[object.0].signals)
}

/// Closes the user's handle.
pub(crate) fn close_object(object: HANDLE) {
    step(|state| state.pool.events[object.0].handles -= 1);
}

/// The pool's thread: calls callbacks until [`end_waits`].
pub(crate) fn serve_waits() {
    let kernel = kernel();
    loop {
        let mut guard = lock(&kernel.lock);
        let due = loop {
            let state = kernel.state.borrow();
            if let Some(number) = state.pool.next_due() {
                break number;
            }
            if state.pool.over {
                return;
            }
            drop(state);
            guard = kernel.due.wait(guard).unwrap();
        };
        let (callback, context) = {
            let pool = &mut kernel.state.borrow_mut().pool;
            let Some(wait) = pool.waits.get_mut(&due) else {
                return;
            };
            wait.stage = Stage::Called;
            pool.events[wait.event].take();
            (pool.callbacks[&due], wait.context)
        };
        drop(guard);
        step(|state| {
            if !state.pool.blocks.contains(&context) {
                complain("freed: the context of a callback");
            }
        });
        // SAFETY: the context is alive, as was just seen.
        unsafe { callback.0(context as *mut c_void) };
        step(|state| {
            let pool = &mut state.pool;
            if let Some(wait) = pool.waits.get_mut(&due) {
                wait.stage = Stage::Done;
                if wait.unregistered {
                    pool.waits.remove(&due);
                }
            }
        });
    }
}

/// Lets the pool's thread end when it has called what is due.
pub(crate) fn end_waits() {
    step(|state| state.pool.over = true);
    kernel().due.notify_all();
}

// What the crate tells under the model alone.

pub(crate) fn block_made(address: usize) {
    kernel().state.borrow_mut().pool.blocks.insert(address);
}

pub(crate) fn block_dropped(address: usize) {
    let known = {
        let kernel = kernel();
        let pool = &mut kernel.state.borrow_mut().pool;
        let needs = |wait: &Registered| {
            wait.context == address && matches!(wait.stage, Stage::Waits | Stage::Called)
        };
        let needed = pool.waits.values().any(needs);
        pool.blocks.remove(&address) && !needed
    };
    if !known {
        complain("freed: a block twice, or under its wait or callback");
    }
}

/// A callback has only its reference to release.
pub(crate) fn callback_returns(context: usize) {
    step(|state| {
        let mut waits = state.pool.waits.values_mut();
        let mine = waits.find(|wait| wait.context == context && wait.stage == Stage::Called);
        if let Some(wait) = mine {
            wait.stage = Stage::Returns;
        }
    });
}

/// A reference of a callback is about to be released by somebody who has one of his own.
pub(crate) fn reference_released(references: usize) {
    if references < 2 {
        complain("freed: a reference that the callback has released");
    }
}

// What the crate calls.

#[derive(Debug)]
pub(crate) struct WaitObject {
    event: usize,
    /// Each has a number of its own.
    handle: usize,
}

impl Drop for WaitObject {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        step(|state| {
            let waits =
                |wait: &Registered| wait.handle == self.handle && wait.stage == Stage::Waits;
            if state.pool.waits.values().any(waits) {
                complain("closed: an object that is waited for");
            }
            let event = &mut state.pool.events[self.event];
            event.handles -= 1;
        });
    }
}

pub(crate) fn create_event() -> Result<WaitObject, Code> {
    let event = open_object(false).0;
    let handle = step(|state| state.pool.new_handle());
    Ok(WaitObject { event, handle })
}

pub(crate) fn instead_of_packet(event: &WaitObject) -> HANDLE {
    HANDLE(event.event + 1)
}

pub(crate) fn is_overlapped(_: HANDLE) -> bool {
    true
}

pub(crate) fn duplicate(handle: HANDLE) -> Result<WaitObject, Code> {
    step(|state| {
        let event = &mut state.pool.events[handle.0];
        if event.handles == 0 {
            return Err(ERROR_INVALID_HANDLE);
        }
        event.handles += 1;
        Ok(WaitObject {
            event: handle.0,
            handle: state.pool.new_handle(),
        })
    })
}

pub(crate) fn take_signal(object: &WaitObject) -> Result<bool, Code> {
    Ok(step(|state| state.pool.events[object.event].take()))
}

#[derive(Debug)]
pub(crate) struct RegisteredWait(usize);

/// As the real one.
pub(crate) trait OnSignal {
    /// # Safety
    /// As the real one.
    unsafe fn signalled(context: *mut c_void);
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn register_wait<C: OnSignal>(
    object: &WaitObject,
    context: *const c_void,
) -> Result<RegisteredWait, Code> {
    let number = step(|state: &mut State| {
        if state.refuses(super::Refused::Wait) {
            return Err(super::WSAENOBUFS);
        }
        let pool = &mut state.pool;
        pool.last += 1;
        let wait = Registered {
            event: object.event,
            handle: object.handle,
            context: context as usize,
            stage: Stage::Waits,
            unregistered: false,
        };
        pool.waits.insert(pool.last, wait);
        pool.callbacks.insert(pool.last, Callback(C::signalled));
        Ok(pool.last)
    })?;
    kernel().due.notify_all();
    Ok(RegisteredWait(number))
}

pub(crate) fn unregister_wait(wait: RegisteredWait) -> Result<(), Code> {
    step(|state| {
        let Some(registered) = state.pool.waits.get_mut(&wait.0) else {
            complain("a wait is unregistered twice");
            return Ok(());
        };
        if matches!(registered.stage, Stage::Called | Stage::Returns) {
            registered.unregistered = true;
            return Err(ERROR_IO_PENDING);
        }
        state.pool.waits.remove(&wait.0);
        Ok(())
    })
}

pub(crate) fn select_connect(socket: SOCKET, event: &WaitObject) -> Result<(), Code> {
    step(|state| {
        state.check_open(socket.0);
        let foreign = &mut state.sockets[socket.0].foreign;
        foreign.event = Some(event.event);
        foreign.record = foreign.ended;
        if foreign.record.is_some() {
            state.pool.events[event.event].signals = 1;
        }
    });
    Ok(())
}

pub(crate) fn select_nothing(socket: SOCKET) {
    step(|state| {
        state.check_open(socket.0);
        let foreign = &mut state.sockets[socket.0].foreign;
        foreign.event = None;
        foreign.record = None;
    });
}

pub(crate) fn ended_connect(socket: SOCKET, event: &WaitObject) -> Option<Result<(), Code>> {
    step(|state| {
        state.check_open(socket.0);
        state.pool.events[event.event].signals = 0;
        state.sockets[socket.0].foreign.record.take()
    })
}
