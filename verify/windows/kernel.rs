//! A small kernel that the models use in the place of `ffi`. It has one completion port, and sockets without a network.
//!
//! Each call is one step, made under one of the checker's locks. The state of the kernel is in a plain cell: the threads of a
//! model are coroutines of one thread, and they take turns only at the locks and atomics of the checker.
//!
//! **It is no kinder than the real kernel.**
//! - It writes the state block of an operation when the packet is taken, and not before.
//! - Memory that an operation was given belongs to the kernel until the packet is taken. Whoever uses or frees it before
//!   fails the check ([`touched`]).
//! - It may send the bytes of an operation in pieces. Bytes that are sent by a direct call overtake those of an operation in
//!   flight as soon as there is room.
//! - A socket that is closed loses what it was sending. A call on a closed socket fails the check, since its number may
//!   belong to another socket. So does closing the socket that an accept in flight will connect.
//! - It tells a reset once, to the first send, receive or `SO_ERROR` that asks. After that there is only an end of stream.
//! - A socket with a linger time is not closed by the first call.
//!
//! **It is simpler than the real kernel.** Its clock stands still until a model lets time pass, and then jumps to the next
//! time that somebody waits for ([`let_time_pass`]). A call fails only if a model asks for it ([`refuse`]).

// The same words as in the real one.
#![allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms)]
#![allow(clippy::unwrap_used)] // a test

#[path = "../../src/windows/ffi/address.rs"]
mod address;
#[path = "../../src/windows/ffi/codes.rs"]
mod codes;
#[path = "kernel/datagrams.rs"]
mod datagrams;
#[path = "kernel/listening.rs"]
mod listening;
#[path = "kernel/pipes.rs"]
mod pipes;
#[path = "kernel/waits.rs"]
mod waits;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::hooks::sync::lock;
pub(crate) use address::*;
pub(crate) use codes::*;
pub(crate) use datagrams::*;
pub(crate) use listening::*;
pub(crate) use pipes::*;
pub(crate) use waits::*;

// By their numbers on the system that the model runs on, `std` knows their kinds.
pub(crate) const WSAEWOULDBLOCK: Code = libc::EAGAIN;
pub(crate) const WSAECONNRESET: Code = libc::ECONNRESET;
pub(crate) const WSAECONNREFUSED: Code = libc::ECONNREFUSED;

pub(crate) const INFINITE: u32 = u32::MAX;
pub(crate) const ERROR_INVALID_PARAMETER: i32 = 87;

const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;
const STATUS_CANCELLED: u32 = 0xc000_0120;
const STATUS_CONNECTION_RESET: u32 = 0xc000_020d;
const STATUS_CONNECTION_REFUSED: u32 = 0xc000_0236;
const STATUS_PORT_UNREACHABLE: u32 = 0xc000_023f;

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // Some hundred bytes.
const fn size_of_i32<T>() -> i32 {
    std::mem::size_of::<T>() as i32
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SOCKET(pub(crate) usize);

impl SOCKET {
    pub(crate) fn handle(self) -> HANDLE {
        HANDLE(self.0)
    }
}

/// A socket or a pipe, for the calls that take both; or another object, that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HANDLE(pub(crate) usize);

impl HANDLE {
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct WSAOVERLAPPED {
    pub(crate) Internal: usize,
    pub(crate) InternalHigh: usize,
    /// 0: none.
    pub(crate) hEvent: HANDLE,
}

impl WSAOVERLAPPED {
    pub(crate) const fn zeroed() -> WSAOVERLAPPED {
        WSAOVERLAPPED {
            Internal: 0,
            InternalHigh: 0,
            hEvent: HANDLE(0),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OVERLAPPED_ENTRY {
    pub(crate) lpCompletionKey: usize,
    pub(crate) lpOverlapped: *mut WSAOVERLAPPED,
    pub(crate) dwNumberOfBytesTransferred: u32,
}

impl OVERLAPPED_ENTRY {
    pub(crate) const fn zeroed() -> OVERLAPPED_ENTRY {
        OVERLAPPED_ENTRY {
            lpCompletionKey: 0,
            lpOverlapped: std::ptr::null_mut(),
            dwNumberOfBytesTransferred: 0,
        }
    }

    pub(crate) fn posted(key: usize, pointer: usize) -> OVERLAPPED_ENTRY {
        OVERLAPPED_ENTRY {
            lpCompletionKey: key,
            lpOverlapped: pointer as *mut WSAOVERLAPPED,
            ..OVERLAPPED_ENTRY::zeroed()
        }
    }
}

// SAFETY: an entry is three numbers; whoever follows the pointer has his own reasons.
unsafe impl Send for OVERLAPPED_ENTRY {}
// SAFETY: as above.
unsafe impl Sync for OVERLAPPED_ENTRY {}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WSABUF {
    pub(crate) len: u32,
    pub(crate) buf: *mut u8,
}

/// Where nothing is lent aside.
const NOTHING: (usize, usize) = (0, 0);

/// What an operation in flight does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Receive,
    Send,
    Connect,
    /// Into the socket of that number.
    Accept(usize),
    Datagram,
    /// It leaves the datagram where it is.
    Peek,
    SendDatagram,
}

/// What a model can have refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Post,
    Start,
    Wait,
}

#[derive(Debug)]
struct Flight {
    socket: usize,
    call: Call,
    memory: usize,
    len: usize,
    /// What else was lent: where, and how many bytes.
    aside: (usize, usize),
    /// Status and count, when it has ended and its packet waits.
    ended: Option<(u32, usize)>,
    /// What its end signals instead of sending a packet.
    event: Option<usize>,
}

#[derive(Debug, Default)]
struct Socket {
    open: bool,
    key: Option<usize>,
    incoming: VecDeque<u8>,
    finished: bool,
    /// For how many bytes there is room.
    room: usize,
    sent: Vec<u8>,
    connected: bool,
    /// It was made by an accept: as of one that was reset by now, only the accept itself tells of the peer.
    accepted: bool,
    /// A reset that nobody was told of.
    reset: bool,
    /// The same for `SO_ERROR`.
    error: bool,
    linger: Option<u16>,
    /// It was closed by a reset of ours.
    aborted: bool,
    /// Connected by an extension function, and no full socket yet.
    bare: bool,
    /// Of a connect that was begun by somebody else.
    foreign: ForeignConnect,
    /// Connections that wait to be accepted; `None` for one that was reset.
    backlog: VecDeque<Option<u16>>,
    datagrams: VecDeque<Datagram>,
    /// Something that was sent could not be delivered, and no receive has met that yet.
    unreachable: bool,
    sent_datagrams: Vec<Vec<u8>>,
    pipe: Pipe,
}

#[derive(Debug, Default)]
struct State {
    port_is_open: bool,
    /// Key and pointer.
    packets: VecDeque<(usize, usize)>,
    waiting: usize,
    /// By the address of the state block.
    flights: BTreeMap<usize, Flight>,
    sockets: Vec<Socket>,
    /// How many `Operation`s there are.
    operations: usize,
    /// How much counts as lent.
    lent: usize,
    /// Bytes that were being sent have gone down with their socket.
    lost: bool,
    /// How many calls of that sort will fail.
    refused: Option<(Refused, usize)>,
    /// The time since the start.
    clock: Duration,
    time_passes: bool,
    pool: Pool,
}

struct Kernel {
    lock: Mutex<()>,
    arrived: Condvar,
    /// There is something to do for the thread pool.
    due: Condvar,
    /// A socket was closed.
    closed: Condvar,
    state: RefCell<State>,
}

std::thread_local! {
    static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
}

fn kernel() -> Rc<Kernel> {
    KERNEL.with(|kernel| Rc::clone(kernel.borrow().as_ref().unwrap()))
}

/// One step of the kernel.
fn step<R>(step: impl FnOnce(&mut State) -> R) -> R {
    let kernel = kernel();
    let _lock = lock(&kernel.lock);
    let mut state = kernel.state.borrow_mut();
    let before = state.packets.len();
    let result = step(&mut state);
    if std::mem::take(&mut state.pool.rings) {
        kernel.due.notify_all();
    }
    if state.packets.len() > before && state.waiting > 0 {
        drop(state);
        kernel.arrived.notify_one();
    }
    result
}

/// A rule of the kernel was broken.
fn complain(what: &str) {
    // A check that fails already lets go of things in no order.
    if !std::thread::panicking() {
        panic!("{what}");
    }
}

// What a model does as the machine and the peers.

/// Starts a machine, and turns the last one off: nothing may be left there.
pub(crate) fn boot() {
    turn_off();
    let kernel = Kernel {
        lock: Mutex::new(()),
        arrived: Condvar::new(),
        due: Condvar::new(),
        closed: Condvar::new(),
        state: RefCell::default(),
    };
    KERNEL.with(|place| *place.borrow_mut() = Some(Rc::new(kernel)));
}

pub(crate) fn turn_off() {
    let Some(kernel) = KERNEL.with(|place| place.borrow_mut().take()) else {
        return;
    };
    let state = kernel.state.borrow();
    assert!(state.flights.is_empty(), "left over: {state:?}");
    assert_eq!(state.operations, 0, "left over: operations");
    assert!(!state.port_is_open, "left over: the port");
    let closed = state.sockets.iter().all(|socket| !socket.open);
    assert!(closed, "left over: a socket");
    state.pool.expect_empty();
    assert_eq!(state.lent, 0, "left over: lent bytes");
    assert!(!state.lost, "sent: a socket was closed under its send");
}

/// Makes the next `times` calls of a sort fail.
pub(crate) fn refuse(what: Refused, times: usize) {
    step(|state| state.refused = Some((what, times)));
}

/// A connected socket, with room for that many bytes.
pub(crate) fn connected_socket(room: usize) -> net::TcpStream {
    let socket = step(|state| state.open(room));
    step(|state| state.sockets[socket].connected = true);
    net::TcpStream::from(OwnedSocket(SOCKET(socket)))
}

pub(crate) fn deliver(socket: SOCKET, bytes: &[u8]) {
    step(|state| {
        state.sockets[socket.0].incoming.extend(bytes);
        state.serve_receives(socket.0);
    });
}

pub(crate) fn finish(socket: SOCKET) {
    step(|state| {
        state.sockets[socket.0].finished = true;
        state.serve_broken_pipe(socket.0);
        state.serve_receives(socket.0);
    });
}

/// The peer resets the connection.
pub(crate) fn reset(socket: SOCKET) {
    step(|state| {
        let broken = &mut state.sockets[socket.0];
        broken.incoming.clear();
        (broken.reset, broken.error, broken.finished) = (true, true, true);
        state.serve(socket.0);
    });
}

/// As the user does by an option.
pub(crate) fn set_linger(socket: SOCKET, seconds: u16) {
    step(|state| state.sockets[socket.0].linger = Some(seconds));
}

/// Whether it was closed by a reset.
pub(crate) fn was_aborted(socket: SOCKET) -> bool {
    step(|state| state.sockets[socket.0].aborted)
}

/// Two steps: there is room, and then what is in flight moves on.
pub(crate) fn make_room(socket: SOCKET, room: usize) {
    step(|state| state.sockets[socket.0].room += room);
    step(|state| state.serve(socket.0));
}

/// Ends the connect in flight, and returns whether there was one.
pub(crate) fn end_connect(socket: SOCKET, well: bool) -> bool {
    step(|state| {
        let status = if well { 0 } else { STATUS_CONNECTION_REFUSED };
        let Some(address) = state.pending(socket.0, Call::Connect) else {
            return false;
        };
        state.sockets[socket.0].connected = well;
        state.sockets[socket.0].bare = well;
        state.end(address, status, 0);
        true
    })
}

pub(crate) fn sent(socket: SOCKET) -> Vec<u8> {
    step(|state| state.sockets[socket.0].sent.clone())
}

pub(crate) fn is_open(socket: SOCKET) -> bool {
    step(|state| state.sockets[socket.0].open)
}

/// Waits until a socket is closed.
pub(crate) fn wait_until_closed(socket: SOCKET) {
    let kernel = kernel();
    let mut guard = lock(&kernel.lock);
    while kernel.state.borrow().sockets[socket.0].open {
        guard = kernel.closed.wait(guard).unwrap();
    }
}

/// From now on a wait that has an end comes to it.
pub(crate) fn let_time_pass() {
    step(|state| state.time_passes = true);
    kernel().arrived.notify_all();
}

/// Lets so much time pass at once.
pub(crate) fn pass(time: Duration) {
    step(|state| state.clock += time);
}

/// How many operations are alive, in flight or not.
pub(crate) fn operations() -> usize {
    step(|state| state.operations)
}

/// How many packets wait to be taken.
pub(crate) fn packets() -> usize {
    step(|state| state.packets.len())
}

// What the crate tells under the model alone.

pub(crate) fn operation_made() {
    kernel().state.borrow_mut().operations += 1;
}

pub(crate) fn operation_dropped(address: usize) {
    touched(address, std::mem::size_of::<WSAOVERLAPPED>());
    kernel().state.borrow_mut().operations -= 1;
}

pub(crate) fn count_lent(change: impl FnOnce(usize) -> usize) {
    let kernel = kernel();
    let mut state = kernel.state.borrow_mut();
    state.lent = change(state.lent);
}

/// Memory is about to be used, changed or freed: so it must not be the kernel's.
pub(crate) fn touched(place: usize, len: usize) {
    let overlaps = |start: usize, size: usize| start < place + len && place < start + size;
    let kernel = kernel();
    let kernels = kernel
        .state
        .borrow()
        .flights
        .iter()
        .any(|(&block, flight)| {
            overlaps(block, std::mem::size_of::<WSAOVERLAPPED>())
                || overlaps(flight.memory, flight.len)
                || overlaps(flight.aside.0, flight.aside.1)
        });
    if kernels {
        complain("hands off: the kernel has that memory");
    }
}

impl State {
    fn open(&mut self, room: usize) -> usize {
        self.sockets.push(Socket {
            open: true,
            room,
            ..Socket::default()
        });
        self.sockets.len() - 1
    }

    fn check_open(&self, socket: usize) {
        if !self.sockets[socket].open {
            complain("closed: a call on a socket that is not ours any more");
        }
    }

    fn pending(&self, socket: usize, call: Call) -> Option<usize> {
        self.all_pending(socket)
            .find(|&address| self.flights[&address].call == call)
    }

    fn all_pending(&self, socket: usize) -> impl Iterator<Item = usize> + '_ {
        let flights = self.flights.iter();
        flights
            .filter(move |(_, flight)| flight.socket == socket && flight.ended.is_none())
            .map(|(&address, _)| address)
    }

    /// Whether a call of that sort is to fail now.
    fn refuses(&mut self, what: Refused) -> bool {
        match &mut self.refused {
            Some((refused, times)) if *refused == what && *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn start(
        &mut self,
        socket: SOCKET,
        call: Call,
        buffer: WSABUF,
        aside: (usize, usize),
        block: *mut WSAOVERLAPPED,
    ) -> Result<(), Code> {
        self.check_open(socket.0);
        if self.sockets[socket.0].foreign.under_way {
            complain("started: an operation on a socket that connects");
        }
        if self.refuses(Refused::Start) {
            return Err(WSAENOBUFS);
        }
        let flight = Flight {
            socket: socket.0,
            call,
            memory: buffer.buf as usize,
            len: buffer.len as usize,
            aside,
            ended: None,
            // SAFETY: it is the caller's block, which is being started.
            event: unsafe { (*block).hEvent }.0.checked_sub(1),
        };
        if self.flights.insert(block as usize, flight).is_some() {
            complain("one flight: an operation was started twice");
        }
        self.serve(socket.0);
        Ok(())
    }

    /// Moves what is in flight on a socket on.
    fn serve(&mut self, socket: usize) {
        self.serve_broken_pipe(socket);
        self.serve_receives(socket);
        self.serve_sends(socket);
        self.serve_accepts(socket);
        self.serve_datagrams(socket);
    }

    fn end(&mut self, address: usize, status: u32, count: usize) {
        let flight = self.flights.get_mut(&address).unwrap();
        if let Some(event) = flight.event {
            self.flights.remove(&address);
            let block = WSAOVERLAPPED {
                Internal: status as usize,
                InternalHigh: count,
                hEvent: HANDLE(event + 1),
            };
            // SAFETY: as in `take`.
            unsafe { (address as *mut WSAOVERLAPPED).write(block) };
            self.pool.signal(event);
            return;
        }
        flight.ended = Some((status, count));
        if let Some(key) = self.sockets[flight.socket].key {
            self.packets.push_back((key, address));
        }
    }

    fn serve_receives(&mut self, socket: usize) {
        let Some(address) = self.pending(socket, Call::Receive) else {
            return;
        };
        let source = &mut self.sockets[socket];
        let is_end = source.finished && source.pipe == Pipe::No;
        if source.incoming.is_empty() && !is_end {
            return;
        }
        if std::mem::take(&mut source.reset) {
            self.end(address, STATUS_CONNECTION_RESET, 0);
            return;
        }
        let flight = &self.flights[&address];
        let count = flight.len.min(source.incoming.len());
        for (index, byte) in source.incoming.drain(..count).enumerate() {
            let place = flight.memory as *mut u8;
            // SAFETY: the memory was lent for `len` bytes, and would not have been freed without a complaint.
            unsafe { place.wrapping_add(index).write(byte) };
        }
        self.end(address, 0, count);
    }

    fn serve_sends(&mut self, socket: usize) {
        let Some(address) = self.pending(socket, Call::Send) else {
            return;
        };
        let target = &mut self.sockets[socket];
        if std::mem::take(&mut target.reset) {
            self.end(address, STATUS_CONNECTION_RESET, 0);
            return;
        }
        let flight = &self.flights[&address];
        let count = flight.len.min(target.room);
        if count == 0 || count < flight.len && target.pipe != Pipe::No {
            return;
        }
        for index in 0..count {
            let place = flight.memory as *const u8;
            // SAFETY: as in `serve_receives`.
            target
                .sent
                .push(unsafe { place.wrapping_add(index).read() });
        }
        target.room -= count;
        self.end(address, 0, count);
    }

    /// Ends what is in flight on a socket, or only that operation.
    fn cancel(&mut self, socket: usize, only: Option<usize>) {
        let all: Vec<usize> = self.all_pending(socket).collect();
        for address in all {
            if only.map_or(true, |only| only == address) {
                self.end(address, STATUS_CANCELLED, 0);
            }
        }
    }

    /// Whether it is that time already, or will be at once.
    fn comes_to(&mut self, time: Duration) -> bool {
        if self.time_passes {
            self.clock = self.clock.max(time);
        }
        self.clock >= time
    }

    /// Takes packets, and writes their blocks only now.
    fn take(&mut self, entries: &mut [OVERLAPPED_ENTRY]) -> usize {
        let count = self.packets.len().min(entries.len());
        for entry in &mut entries[..count] {
            let (key, pointer) = self.packets.pop_front().unwrap();
            let lpOverlapped = pointer as *mut WSAOVERLAPPED;
            let mut bytes = 0;
            let ended = self
                .flights
                .get(&pointer)
                .and_then(|flight| flight.ended.filter(|_| key == 0));
            if let Some((status, moved)) = ended {
                self.flights.remove(&pointer);
                bytes = moved;
                let block = WSAOVERLAPPED {
                    Internal: status as usize,
                    InternalHigh: bytes,
                    hEvent: HANDLE(0),
                };
                // SAFETY: the operation was in flight, and would not have been freed without a complaint.
                unsafe { lpOverlapped.write(block) };
            }
            *entry = OVERLAPPED_ENTRY {
                lpCompletionKey: key,
                lpOverlapped,
                dwNumberOfBytesTransferred: u32::try_from(bytes).unwrap(),
            };
        }
        count
    }
}

// What the crate calls.

#[derive(Debug)]
pub(crate) struct CompletionPort(());

impl Drop for CompletionPort {
    fn drop(&mut self) {
        kernel().state.borrow_mut().port_is_open = false;
    }
}

pub(crate) fn create_completion_port() -> io::Result<CompletionPort> {
    step(|state| state.port_is_open = true);
    Ok(CompletionPort(()))
}

pub(crate) fn create_io_completion_port(
    socket: HANDLE,
    _port: &CompletionPort,
    key: usize,
) -> io::Result<()> {
    step(|state| {
        state.check_open(socket.0);
        match state.sockets[socket.0].key.replace(key) {
            None => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(ERROR_INVALID_PARAMETER)),
        }
    })
}

pub(crate) fn get_queued_completion_status_ex(
    _port: &CompletionPort,
    entries: &mut [OVERLAPPED_ENTRY],
    timeout_ms: u32,
) -> io::Result<usize> {
    let kernel = kernel();
    let mut guard = lock(&kernel.lock);
    let end = (timeout_ms != INFINITE)
        .then(|| kernel.state.borrow().clock + Duration::from_millis(timeout_ms.into()));
    loop {
        let count = kernel.state.borrow_mut().take(entries);
        if count > 0 || end.is_some_and(|end| kernel.state.borrow_mut().comes_to(end)) {
            return Ok(count);
        }
        kernel.state.borrow_mut().waiting += 1;
        guard = kernel.arrived.wait(guard).unwrap();
        kernel.state.borrow_mut().waiting -= 1;
    }
}

pub(crate) fn post_queued_completion_status(
    _port: &CompletionPort,
    _bytes: u32,
    key: usize,
    pointer: usize,
) -> io::Result<()> {
    step(|state| {
        if state.refuses(Refused::Post) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        state.packets.push_back((key, pointer));
        Ok(())
    })
}

/// A time of this kernel's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Instant {
        Instant(step(|state| state.clock))
    }

    pub(crate) fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, time: Duration) -> Instant {
        Instant(self.0 + time)
    }
}

pub(crate) fn cancel_io_ex(socket: HANDLE, operation: *mut WSAOVERLAPPED) {
    step(|state| {
        state.check_open(socket.0);
        state.cancel(socket.0, Some(operation as usize));
    });
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn wsa_recv(
    socket: SOCKET,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    step(|state| {
        let target = &state.sockets[socket.0];
        if !target.connected && !target.foreign.under_way {
            return Err(WSAENOTCONN);
        }
        state.start(socket, Call::Receive, buffer, NOTHING, operation)
    })
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn wsa_send(
    socket: SOCKET,
    buffer: WSABUF,
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    step(|state| state.start(socket, Call::Send, buffer, NOTHING, operation))
}

/// # Safety
/// As the real one.
pub(crate) unsafe fn connect_ex(
    socket: SOCKET,
    target: &(SOCKADDR_STORAGE, i32),
    operation: *mut WSAOVERLAPPED,
) -> Result<(), Code> {
    let name: *const (SOCKADDR_STORAGE, i32) = target;
    let name = WSABUF {
        len: u32::try_from(target.1).unwrap(),
        buf: name.cast::<u8>().cast_mut(),
    };
    step(|state| state.start(socket, Call::Connect, name, NOTHING, operation))
}

pub(crate) fn update_connect_context(socket: SOCKET) -> Result<(), Code> {
    if !is_connected(socket)? {
        return Err(WSAENOTCONN);
    }
    step(|state| state.sockets[socket.0].bare = false);
    Ok(())
}

pub(crate) fn is_connected(socket: SOCKET) -> Result<bool, Code> {
    step(|state| {
        state.check_open(socket.0);
        Ok(state.sockets[socket.0].connected)
    })
}

/// Of a connect that somebody else began, the record tells all there is.
pub(crate) fn pending_error(socket: SOCKET) -> Option<Code> {
    step(|state| state.check_open(socket.0));
    None
}

pub(crate) fn bound_address(socket: SOCKET) -> Option<SocketAddr> {
    step(|state| {
        state.check_open(socket.0);
        Some(name_of(0))
    })
}

pub(crate) fn share_port(socket: SOCKET) {
    step(|state| state.check_open(socket.0));
}

pub(crate) fn peek_one(socket: SOCKET) -> Result<usize, Code> {
    step(|state| {
        state.check_open(socket.0);
        let socket = &mut state.sockets[socket.0];
        if socket.unreachable {
            return Err(WSAECONNRESET);
        }
        match socket.datagrams.front() {
            Some(datagram) if datagram.bytes.len() > 1 => return Err(WSAEMSGSIZE),
            Some(datagram) => return Ok(datagram.bytes.len()),
            None => {}
        }
        if socket.incoming.is_empty() && !socket.finished {
            return Err(WSAEWOULDBLOCK);
        }
        if std::mem::take(&mut socket.reset) {
            return Err(WSAECONNRESET);
        }
        Ok(socket.incoming.len().min(1))
    })
}

pub(crate) fn wsa_get_overlapped_result(_: SOCKET, _: &WSAOVERLAPPED) -> Result<(), Code> {
    Err(WSAEINVAL) // Every status of this kernel is in the table.
}

pub(crate) fn start_winsock() -> io::Result<()> {
    Ok(())
}

pub(crate) fn wsa_socket(_family: u16) -> Result<OwnedSocket, Code> {
    Ok(OwnedSocket(SOCKET(step(|state| state.open(0)))))
}

pub(crate) fn bind_socket(_: SOCKET, _: &SocketAddr) -> Result<(), Code> {
    Ok(())
}

pub(crate) fn connect_socket(socket: SOCKET, _: &SocketAddr) -> Result<(), Code> {
    step(|state| {
        state.check_open(socket.0);
        match &state.sockets[socket.0] {
            Socket { foreign, .. } if foreign.under_way => Err(WSAEALREADY),
            socket if socket.connected => Err(WSAEISCONN),
            _ => Err(WSAEADDRNOTAVAIL),
        }
    })
}

pub(crate) fn set_abortive_close(socket: SOCKET) {
    set_linger_option(socket, Some(0));
}

pub(crate) fn set_graceful_close(socket: SOCKET) {
    set_linger_option(socket, None);
}

fn set_linger_option(socket: SOCKET, linger: Option<u16>) {
    step(|state| {
        state.check_open(socket.0);
        state.sockets[socket.0].linger = linger;
    });
}

pub(crate) fn linger(socket: SOCKET) -> Option<u16> {
    step(|state| {
        state.check_open(socket.0);
        state.sockets[socket.0].linger
    })
}

pub(crate) fn close_socket(socket: OwnedSocket) -> Option<OwnedSocket> {
    if linger(socket.0).is_some_and(|seconds| seconds > 0) {
        return Some(socket);
    }
    drop(socket);
    None
}

/// As `AsRawSocket`.
pub(crate) trait Numbered {
    fn number(&self) -> SOCKET;
}

pub(crate) fn socket_of(socket: &impl Numbered) -> SOCKET {
    socket.number()
}

/// A socket that is closed when it is dropped.
#[derive(Debug)]
pub(crate) struct OwnedSocket(SOCKET);

impl Numbered for OwnedSocket {
    fn number(&self) -> SOCKET {
        self.0
    }
}

impl Drop for OwnedSocket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        step(|state| {
            state.check_open(self.0 .0);
            let closing = &mut state.sockets[self.0 .0];
            if closing.linger.is_some_and(|seconds| seconds > 0) {
                return;
            }
            closing.aborted = closing.linger == Some(0);
            state.lost |= state.pending(self.0 .0, Call::Send).is_some()
                || state.pending(self.0 .0, Call::SendDatagram).is_some();
            let accepting = |flight: &Flight| flight.call == Call::Accept(self.0 .0);
            if state.flights.values().any(accepting) {
                complain("closed: the socket of an accept in flight");
            }
            state.cancel(self.0 .0, None);
            state.sockets[self.0 .0].open = false;
        });
        kernel().closed.notify_all();
    }
}

/// The sockets as `std` has them.
pub(crate) mod net {
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{Shutdown, SocketAddr};

    pub(crate) use super::datagrams::UdpSocket;
    pub(crate) use super::listening::TcpListener;
    use super::{step, Numbered, OwnedSocket, SOCKET, WSAECONNRESET};

    #[derive(Debug)]
    pub(crate) struct TcpStream(OwnedSocket);

    impl From<OwnedSocket> for TcpStream {
        fn from(socket: OwnedSocket) -> TcpStream {
            TcpStream(socket)
        }
    }

    impl From<TcpStream> for OwnedSocket {
        fn from(stream: TcpStream) -> OwnedSocket {
            stream.0
        }
    }

    impl Numbered for TcpStream {
        fn number(&self) -> SOCKET {
            self.0 .0
        }
    }

    impl TcpStream {
        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(super::listening::name_of(0))
        }

        pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
            step(|state| {
                let socket = &state.sockets[self.number().0];
                if socket.connected && !socket.accepted {
                    return Ok(super::listening::name_of(1));
                }
                Err(ErrorKind::NotConnected.into())
            })
        }

        pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            let error = step(|state| std::mem::take(&mut state.sockets[self.number().0].error));
            Ok(error.then(|| io::Error::from_raw_os_error(WSAECONNRESET)))
        }

        pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            assert_eq!(how, Shutdown::Write, "the system is told of no other");
            let full = step(|state| {
                let socket = &state.sockets[self.number().0];
                socket.connected && !socket.bare
            });
            if !full {
                return Err(ErrorKind::NotConnected.into());
            }
            Ok(())
        }

        fn receive(&self, buffer: &mut [u8], peek: bool) -> io::Result<usize> {
            step(|state| {
                let socket = &mut state.sockets[self.number().0];
                if !socket.connected {
                    return Err(ErrorKind::NotConnected.into());
                }
                let count = buffer.len().min(socket.incoming.len());
                if count == 0 && !socket.finished {
                    return Err(ErrorKind::WouldBlock.into());
                }
                if count == 0 && std::mem::take(&mut socket.reset) {
                    return Err(io::Error::from_raw_os_error(WSAECONNRESET));
                }
                for (place, byte) in buffer.iter_mut().zip(&socket.incoming) {
                    *place = *byte;
                }
                if !peek {
                    socket.incoming.drain(..count);
                }
                Ok(count)
            })
        }

        pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
            self.receive(buffer, true)
        }
    }

    impl Read for TcpStream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.receive(buffer, false)
        }
    }

    impl Read for &TcpStream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.receive(buffer, false)
        }
    }

    impl Write for &TcpStream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            step(|state| {
                let socket = &mut state.sockets[self.number().0];
                if std::mem::take(&mut socket.reset) {
                    return Err(io::Error::from_raw_os_error(WSAECONNRESET));
                }
                let count = bytes.len().min(socket.room);
                if count == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                socket.sent.extend(&bytes[..count]);
                socket.room -= count;
                Ok(count)
            })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
