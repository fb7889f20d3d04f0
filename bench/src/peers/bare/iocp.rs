//! A completion port, on `windows-sys`. Each connection lends one buffer to the receive that is in flight on it. The
//! received bytes are handed on out of that buffer, and then the next receive starts. To send much, it fills the buffer
//! once and lends it to one send after the other.
//! An operation in flight holds a reference to its memory, which is released when its packet is taken. So memory that
//! the kernel may still write to is never freed, whatever is dropped first.

use std::cell::UnsafeCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, FromRawSocket, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    GetLastError, ERROR_IO_PENDING, HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::{
    send, setsockopt, AcceptEx, WSAGetLastError, WSARecv, WSASend, WSASocketW, AF_INET,
    INVALID_SOCKET, SOCKET, SOCK_STREAM, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, WSABUF,
    WSA_FLAG_OVERLAPPED, WSA_IO_PENDING,
};
use windows_sys::Win32::System::Threading::INFINITE;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, PostQueuedCompletionStatus, OVERLAPPED,
    OVERLAPPED_ENTRY,
};

use crate::peers::{Peer, BUFFER, EVENTS};

/// The room for one address in what `AcceptEx` writes: 16 bytes more than the address.
const ADDRESS: usize = 32;

#[derive(Debug)]
pub struct Bare<const AGAIN: bool> {
    port: Arc<OwnedHandle>,
}

/// Values of [`Operation::moved`] other than a count.
const IN_FLIGHT: u32 = u32::MAX;
const NOTHING: u32 = u32::MAX - 1;
const FAILED: u32 = u32::MAX - 2;

/// A receive, a send or an accept.
#[repr(C)]
struct Operation {
    /// This field is first, so the pointer in a packet is a pointer to the whole structure.
    overlapped: UnsafeCell<OVERLAPPED>,
    /// The number of bytes that came or went. It is written when the packet is taken, and read when the event is handled.
    moved: AtomicU32,
    /// The kernel owns it while the operation is in flight.
    buffer: UnsafeCell<Box<[u8]>>,
}

// SAFETY: the overlapped and the buffer are touched only by who found the operation not in flight, and a stream has one
// user at a time.
unsafe impl Send for Operation {}
// SAFETY: as above.
unsafe impl Sync for Operation {}

impl Operation {
    fn new(room: usize) -> Arc<Operation> {
        Arc::new(Operation {
            overlapped: UnsafeCell::new(OVERLAPPED::default()),
            moved: AtomicU32::new(NOTHING),
            buffer: UnsafeCell::new(vec![0; room].into()),
        })
    }

    /// Starts the operation. `call` gets the overlapped structure and the buffer, and returns whether a packet will
    /// come.
    fn start(
        self: &Arc<Self>,
        call: impl FnOnce(*mut OVERLAPPED, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.moved.swap(IN_FLIGHT, Ordering::AcqRel) == IN_FLIGHT {
            return Ok(());
        }
        let overlapped = self.overlapped.get();
        // SAFETY: it was not in flight, so nobody else has the two.
        let buffer = unsafe {
            overlapped.write(OVERLAPPED::default());
            &mut *self.buffer.get()
        };
        let lent = Arc::into_raw(Arc::clone(self));
        call(overlapped, buffer).inspect_err(|_| {
            self.moved.store(NOTHING, Ordering::Release);
            // SAFETY: it did not start, so no packet gives this reference back.
            drop(unsafe { Arc::from_raw(lent) });
        })
    }

    /// What came or went, which is returned once, or `None` if nothing did.
    fn take(&self) -> io::Result<Option<&[u8]>> {
        let count = match self.moved.load(Ordering::Acquire) {
            IN_FLIGHT | NOTHING => return Ok(None),
            FAILED => return Err(ErrorKind::ConnectionReset.into()),
            count => count as usize,
        };
        self.moved.store(NOTHING, Ordering::Release);
        // SAFETY: it is not in flight, and starts again only through the stream, which is being read.
        Ok(Some(unsafe { &(&*self.buffer.get())[..count] }))
    }
}

/// A connection, and the operation that is in flight on it: receives, or sends if it is a sender's.
pub struct Socket {
    socket: TcpStream,
    operation: Arc<Operation>,
}

impl Socket {
    fn raw(&self) -> SOCKET {
        self.socket.as_raw_socket() as SOCKET
    }

    fn receive(&self) -> io::Result<()> {
        self.operation.start(|overlapped, buffer| {
            let room = WSABUF {
                len: buffer.len() as u32,
                buf: buffer.as_mut_ptr(),
            };
            let mut flags = 0;
            // SAFETY: overlapped and buffer live until the packet is taken.
            let result = unsafe {
                WSARecv(
                    self.raw(),
                    &room,
                    1,
                    null_mut(),
                    &mut flags,
                    overlapped,
                    None,
                )
            };
            started(result)
        })
    }

    /// Sends as many bytes of the buffer.
    fn send(&self, count: usize) -> io::Result<()> {
        self.operation.start(|overlapped, buffer| {
            let bytes = WSABUF {
                len: count as u32,
                buf: buffer.as_mut_ptr(),
            };
            // SAFETY: overlapped and buffer live until the packet is taken.
            let result = unsafe { WSASend(self.raw(), &bytes, 1, null_mut(), 0, overlapped, None) };
            started(result)
        })
    }
}

/// Whether a packet will come of a call that returned this.
fn started(result: i32) -> io::Result<()> {
    // SAFETY: it takes nothing.
    match result {
        0 => Ok(()),
        _ if unsafe { WSAGetLastError() } == WSA_IO_PENDING => Ok(()),
        _ => Err(last_socket_error()),
    }
}

fn last_socket_error() -> io::Error {
    // SAFETY: it takes nothing.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

impl Read for &Socket {
    /// The bytes of the last receive. Every benchmark reads with at least this much room.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.operation.take()?.ok_or(ErrorKind::WouldBlock)?;
        assert!(bytes.len() <= buffer.len(), "the rest would be lost");
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for &Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // SAFETY: the buffer is as long as said.
        let count = unsafe { send(self.raw(), buffer.as_ptr(), buffer.len() as i32, 0) };
        usize::try_from(count).map_err(|_| last_socket_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What one wait has found.
pub struct Batch {
    room: Vec<OVERLAPPED_ENTRY>,
    count: usize,
}

// SAFETY: what its pointers point to has been given back when the wait returns; only the keys are used.
unsafe impl Send for Batch {}

/// A listener, and the socket that its accept in flight will connect.
pub struct Listener {
    listener: TcpListener,
    accept: Arc<Operation>,
    next: Option<TcpStream>,
}

impl Listener {
    fn raw(&self) -> SOCKET {
        self.listener.as_raw_socket() as SOCKET
    }

    fn accept(&mut self) -> io::Result<()> {
        // SAFETY: it takes numbers, and what it gives belongs to nobody else.
        let next = unsafe {
            let family = i32::from(AF_INET);
            let socket = WSASocketW(family, SOCK_STREAM, 0, null(), 0, WSA_FLAG_OVERLAPPED);
            if socket == INVALID_SOCKET {
                return Err(last_socket_error());
            }
            TcpStream::from_raw_socket(socket as u64)
        };
        next.set_nonblocking(true)?;
        let (listener, socket) = (self.raw(), next.as_raw_socket() as SOCKET);
        self.next = Some(next);
        self.accept.start(|overlapped, buffer| {
            let (at, each) = (buffer.as_mut_ptr(), ADDRESS as u32);
            let mut count = 0;
            // SAFETY: overlapped and buffer live until the packet is taken, and there is room for two addresses.
            let done = unsafe {
                AcceptEx(
                    listener,
                    socket,
                    at.cast(),
                    0,
                    each,
                    each,
                    &mut count,
                    overlapped,
                )
            };
            // SAFETY: it takes nothing.
            if done != 0 || unsafe { WSAGetLastError() } == ERROR_IO_PENDING as i32 {
                return Ok(());
            }
            Err(last_socket_error())
        })
    }
}

/// Takes packets, and records for each operation how it ended.
fn wait(port: &OwnedHandle, batch: &mut Batch, timeout_ms: u32) -> io::Result<()> {
    let mut count = 0;
    let room = batch.room.len() as u32;
    batch.count = 0;
    // SAFETY: there is room for as many packets as said.
    let done = unsafe {
        GetQueuedCompletionStatusEx(
            port.as_raw_handle() as HANDLE,
            batch.room.as_mut_ptr(),
            room,
            &mut count,
            timeout_ms,
            0,
        )
    };
    if done == 0 {
        // SAFETY: it takes nothing.
        return match unsafe { GetLastError() } {
            WAIT_TIMEOUT => Ok(()),
            code => Err(io::Error::from_raw_os_error(code as i32)),
        };
    }
    batch.count = count as usize;
    for packet in &batch.room[..batch.count] {
        if packet.lpOverlapped.is_null() {
            continue;
        }
        // SAFETY: every operation on this port is one of ours, and its packet comes once.
        let operation = unsafe { Arc::from_raw(packet.lpOverlapped.cast::<Operation>()) };
        // SAFETY: its packet was taken: it is not the kernel's any more.
        let status = unsafe { (*operation.overlapped.get()).Internal };
        let moved = match status {
            0 => packet.dwNumberOfBytesTransferred,
            _ => FAILED,
        };
        operation.moved.store(moved, Ordering::Release);
    }
    Ok(())
}

impl<const AGAIN: bool> Bare<AGAIN> {
    fn associate(&self, socket: SOCKET, key: usize) -> io::Result<()> {
        let port = self.port.as_raw_handle() as HANDLE;
        // SAFETY: both handles are open.
        let same = unsafe { CreateIoCompletionPort(socket as HANDLE, port, key, 0) };
        if same.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl<const AGAIN: bool> Drop for Bare<AGAIN> {
    /// Takes the packets of connections that were closed with a receive in flight. Otherwise their memory would never
    /// be freed.
    fn drop(&mut self) {
        let mut batch = Self::events();
        while wait(&self.port, &mut batch, 10).is_ok() && batch.count > 0 {}
    }
}

impl<const AGAIN: bool> Peer for Bare<AGAIN> {
    const NAME: &'static str = if AGAIN { "bare-again" } else { "bare" };

    type Events = Batch;
    type Stream = Socket;
    type Listener = Listener;
    type Waker = (Arc<OwnedHandle>, usize);
    type Remote = ();

    fn new() -> io::Result<Self> {
        // SAFETY: it takes no handle but the one that means none, and the new one belongs to nobody else.
        let port = unsafe {
            let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, null_mut(), 0, 0);
            if port.is_null() {
                return Err(io::Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(port.cast())
        };
        Ok(Bare {
            port: Arc::new(port),
        })
    }

    fn events() -> Batch {
        Batch {
            room: vec![OVERLAPPED_ENTRY::default(); EVENTS],
            count: 0,
        }
    }

    fn wait(&mut self, events: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ms = timeout.map_or(INFINITE, |timeout| timeout.as_millis() as u32);
        wait(&self.port, events, timeout_ms)
    }

    fn keys(events: &Batch) -> impl Iterator<Item = usize> + '_ {
        events.room[..events.count]
            .iter()
            .map(|packet| packet.lpCompletionKey)
    }

    fn wrap(stream: TcpStream) -> io::Result<Socket> {
        Ok(Socket {
            socket: stream,
            operation: Operation::new(BUFFER),
        })
    }

    fn lend(stream: &mut Socket, bytes: usize) -> io::Result<()> {
        stream.operation = Operation::new(bytes);
        Ok(())
    }

    fn adopt(&self, stream: &mut Socket, key: usize) -> io::Result<()> {
        self.associate(stream.raw(), key)?;
        stream.receive()
    }

    fn close(&self, stream: Socket) -> io::Result<()> {
        drop(stream);
        Ok(())
    }

    fn handle(
        (): &(),
        stream: &mut Socket,
        _key: usize,
        _buffer: &mut [u8],
        mut sink: impl FnMut(&Socket, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        match stream.operation.take()? {
            None => return Ok(true),
            Some([]) => return Ok(false),
            Some(bytes) => sink(stream, bytes)?,
        }
        stream.receive()?;
        Ok(true)
    }

    fn adopt_sender(&self, stream: &mut Socket, key: usize) -> io::Result<()> {
        self.associate(stream.raw(), key)
    }

    /// Bytes are taken when their packet comes.
    fn send(
        &self,
        stream: &mut Socket,
        _key: usize,
        chunk: &[u8],
        left: usize,
    ) -> io::Result<usize> {
        let taken = match stream.operation.take()? {
            Some(bytes) => bytes.len(),
            None => {
                // The first call. Nothing is in flight, so this is the only reference.
                let operation = Operation::new(chunk.len());
                // SAFETY: as above.
                unsafe { (*operation.buffer.get()).copy_from_slice(chunk) };
                stream.operation = operation;
                0
            }
        };
        if taken < left {
            stream.send(chunk.len().min(left - taken))?;
        }
        Ok(taken)
    }

    fn listen(&self, listener: TcpListener, key: usize) -> io::Result<Listener> {
        let mut listener = Listener {
            listener,
            accept: Operation::new(2 * ADDRESS),
            next: None,
        };
        self.associate(listener.raw(), key)?;
        listener.accept()?;
        Ok(listener)
    }

    fn acceptable(
        &self,
        listener: &mut Listener,
        _key: usize,
        mut accepted: impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<()> {
        if listener.accept.take()?.is_none() {
            return Ok(());
        }
        let stream = listener.next.take().expect("it was made for this accept");
        let raw = listener.raw();
        let (at, length) = (std::ptr::from_ref(&raw), size_of::<SOCKET>() as i32);
        let socket = stream.as_raw_socket() as SOCKET;
        // SAFETY: the value is as long as said, and only read.
        let failed = unsafe {
            setsockopt(
                socket,
                SOL_SOCKET,
                SO_UPDATE_ACCEPT_CONTEXT,
                at.cast(),
                length,
            )
        };
        if failed != 0 {
            return Err(last_socket_error());
        }
        accepted(Self::wrap(stream)?)?;
        listener.accept()
    }

    fn waker(&self, key: usize) -> io::Result<Self::Waker> {
        Ok((Arc::clone(&self.port), key))
    }

    fn wake((port, key): &Self::Waker) -> io::Result<()> {
        // SAFETY: the port is open.
        let done =
            unsafe { PostQueuedCompletionStatus(port.as_raw_handle() as HANDLE, 0, *key, null()) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn remote(&self) -> io::Result<()> {
        Ok(())
    }

    fn own(&self) -> &() {
        &()
    }

    /// Starts the next receive. Any thread may do that.
    fn rearm((): &(), stream: &mut Socket, _key: usize) -> io::Result<()> {
        stream.receive()
    }

    fn lent_bytes(&self, streams: usize) -> usize {
        streams * BUFFER
    }
}
