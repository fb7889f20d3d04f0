//! The kernel that the models play: sockets, each with a count of bytes, and a set that reports edges as epoll does.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use super::{R, W};
use crate::event::Hints;
use crate::hooks::sync::{lock, AtomicU32, Mutex, Ordering};
use crate::interests::Interests;
use crate::unix::ending::Ending;
use crate::unix::queue::System;
use crate::unix::readiness::{Edge, Key};

/// What a socket holds: the count of bytes in the low bits, and these.
pub(super) const FIN: u32 = 1 << 16;
pub(super) const FULL: u32 = 1 << 17;
pub(super) const BYTES: u32 = FIN - 1;
/// The edges have the hint of a priority.
pub(super) const PRIORITY: u32 = 1 << 18;

/// Descriptors came along with the first byte, so a read stops behind it, and says so.
pub(super) const CONTROL: u32 = 1 << 19;
/// An urgent byte is behind the first byte, so a read stops there, and does not say so.
pub(super) const URGENT: u32 = 1 << 20;
/// The same, and the urgent byte was taken. Its place counts as readable.
pub(super) const PLACE: u32 = 1 << 21;

/// Which interests hold, as `epoll` and `poll(2)` see it.
pub(super) fn ready(held: u32) -> Interests {
    let mut ready = Interests::empty();
    ready.set(R, held & (BYTES | FIN | URGENT | PLACE) != 0);
    ready.set(W, held & FULL == 0);
    ready
}

/// A socket of the kernel in miniature. It is changed under its lock, and looked at without.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) lock: Mutex<()>,
    pub(super) held: AtomicU32,
}

/// The kernel's queue: what is watched, and the list of what is ready.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) items: Vec<Option<(Interests, Key)>>,
    /// Which sockets the set was asked for the level of. Such a one stays in the list until a wait finds that it is not
    /// ready.
    pub(super) levels: Vec<bool>,
    /// Numbers of sockets; `None` is the notice.
    pub(super) ready: VecDeque<Option<usize>>,
}

impl Set {
    pub(super) fn push(&mut self, entry: Option<usize>) {
        if !self.ready.contains(&entry) {
            self.ready.push_back(entry);
        }
    }
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) has_levels: bool,
    pub(super) sockets: Vec<Socket>,
    pub(super) set: Mutex<Set>,
}

impl Fake {
    /// Changes what a socket holds, and reports `interests` if they are asked for, as `ep_poll_callback` does.
    pub(super) fn change(
        &self,
        socket: usize,
        interests: Interests,
        change: impl FnOnce(u32) -> u32,
    ) {
        let _lock = lock(&self.sockets[socket].lock);
        let held = self.sockets[socket].held.load(Ordering::Relaxed);
        self.sockets[socket]
            .held
            .store(change(held), Ordering::Relaxed);
        let mut set = lock(&self.set);
        if matches!(set.items[socket], Some((asked, _)) if asked.intersects(interests)) {
            set.push(Some(socket));
        }
    }

    pub(super) fn deliver(&self, socket: usize, bytes: u32) {
        self.change(socket, R, |held| held + bytes);
    }

    pub(super) fn finish(&self, socket: usize) {
        self.change(socket, R, |held| held | FIN);
    }

    pub(super) fn make_room(&self, socket: usize) {
        self.change(socket, W, |held| held & !FULL);
    }

    pub(super) fn receive(&self, socket: usize, room: u32) -> io::Result<u32> {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        let count = room.min(held & BYTES);
        if count == 0 && held & FIN == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.held.store(held - count, Ordering::Relaxed);
        Ok(count)
    }

    /// As Linux reads from a Unix stream: the count, and whether nothing that came along has ended the read.
    pub(super) fn receive_unix(&self, socket: usize, room: u32) -> io::Result<(u32, bool)> {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        let stops = held & (CONTROL | URGENT | PLACE);
        let most = if stops == 0 { room } else { 1 };
        let count = most.min(held & BYTES);
        // What is first is thrown away.
        let stops = if count == 0 { 0 } else { stops & !CONTROL };
        socket
            .held
            .store(((held & BYTES) - count) | stops, Ordering::Relaxed);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok((count, held & CONTROL == 0))
    }

    /// Takes the urgent byte, if there is one.
    pub(super) fn take_urgent(&self, socket: usize) {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        if held & URGENT != 0 {
            let held = (held & !URGENT) | PLACE;
            socket.held.store(held, Ordering::Relaxed);
        }
    }

    /// A write of more than there is room for: short, or `WouldBlock`.
    pub(super) fn send_much(&self, socket: usize) -> io::Result<u32> {
        let socket = &self.sockets[socket];
        let _lock = lock(&socket.lock);
        let held = socket.held.load(Ordering::Relaxed);
        if held & FULL != 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.held.store(held | FULL, Ordering::Relaxed);
        Ok(1)
    }

    pub(super) fn held(&self, socket: usize) -> u32 {
        self.sockets[socket].held.load(Ordering::Relaxed)
    }

    pub(super) fn holds(&self, socket: usize) -> Interests {
        ready(self.held(socket))
    }

    /// `epoll_wait` with no time: each entry as slot and edge, or the notice.
    pub(super) fn reap(&self, most: usize, wait: u32) -> Vec<Option<(u32, Edge)>> {
        let mut set = lock(&self.set);
        let mut reaped = Vec::new();
        let mut again = Vec::new();
        while reaped.len() < most {
            let Some(entry) = set.ready.pop_front() else {
                break;
            };
            let Some(socket) = entry else {
                reaped.push(None);
                continue;
            };
            let Some((asked, key)) = set.items[socket] else {
                continue;
            };
            let held = self.sockets[socket].held.load(Ordering::Relaxed);
            let ready = ready(held) & asked;
            if ready.is_empty() {
                continue;
            }
            let mut odd = Interests::empty();
            odd.set(R, held & (FIN | URGENT) != 0);
            let edge = Edge {
                stamp: key.stamp,
                wait,
                told: Interests::all(),
                ready,
                odd,
                waiting: 0,
                urgent: held & URGENT != 0,
                hints: Hints {
                    priority: held & (PRIORITY | URGENT) != 0,
                    ..Hints::default()
                },
            };
            reaped.push(Some((key.slot, edge)));
            if set.levels[socket] {
                again.push(entry);
            }
        }
        for entry in again {
            set.push(entry);
        }
        reaped
    }
}

pub(super) fn number(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap()
}

impl System for Fake {
    fn ask(
        &self,
        fd: RawFd,
        before: Option<Interests>,
        interests: Interests,
        key: Key,
    ) -> io::Result<()> {
        let socket = number(fd);
        let mut set = lock(&self.set);
        match (before, set.items[socket]) {
            (None, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(_), None) => return Err(ErrorKind::NotFound.into()),
            _ => {}
        }
        set.items[socket] = Some((interests, key));
        set.levels[socket] = false;
        if self.holds(socket).intersects(interests) {
            set.push(Some(socket));
        }
        Ok(())
    }

    fn has_levels(&self) -> bool {
        self.has_levels
    }

    fn ask_for_level(&self, fd: RawFd, interests: Interests, key: Key) -> io::Result<()> {
        self.ask(fd, Some(interests), interests, key)?;
        lock(&self.set).levels[number(fd)] = true;
        Ok(())
    }

    fn confirm(&self, fd: RawFd, interests: Interests) -> Interests {
        self.holds(number(fd)) & interests
    }

    fn confirm_beside_urgent(&self, fd: RawFd, _ending: &Ending) -> bool {
        self.held(number(fd)) & (BYTES | FIN) != 0
    }

    fn leave(&self, fd: RawFd, _asked: Interests) {
        let socket = number(fd);
        let mut set = lock(&self.set);
        set.items[socket] = None;
        set.ready.retain(|entry| *entry != Some(socket));
    }

    fn notice(&self) {
        lock(&self.set).push(None);
    }
}
