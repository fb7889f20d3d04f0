//! The interface of [mio](https://docs.rs/mio/1) 1 over minimio: the same names,
//! the same semantics, and on Windows nothing but documented calls below. A program that uses mio, or tokio, which does,
//! runs on minimio by one line in its `Cargo.toml`; the README of this package has it.
//!
//! # What is different
//! mio's documentation holds, with these remarks:
//! - **Events.** On Unix each report of the kernel is an event, as in mio. On Windows a source is registered again after
//!   each call that would block, as in mio, and a stream also after each read. So there are more events there, and none is
//!   lost that mio has.
//! - **Reads on Windows.** After a read that did not fill its buffer, one further read is `WouldBlock` without asking the
//!   system, unless an event has come meanwhile. What it would have read is told by the next event.
//! - **The end of a stream on Windows** may be told by [`is_read_closed`](event::Event::is_read_closed) one poll later than
//!   the event that it is readable, if the user has read from it since the event before.
//! - **Signals** do not end a [`Poll::poll`].
//! - **A second [`Waker`]** of a `Poll` works, and does not panic.
//! - **`Interest::PRIORITY`** and `Interest::READABLE` both report urgent data and other data, as a readable event.
//! - There are no AIO interests: minimio cannot wait for them.
//!
//! # Where to find what
//! `poll.rs` has [`Poll`], [`Registry`] and [`Waker`]; `event.rs` what a poll hands out; `net.rs` the sockets. `io.rs`
//! decides how a source is registered, which is where the two families of systems differ.

#![deny(unsafe_op_in_unsafe_fn, missing_docs)]

pub mod event;
mod interest;
mod io;
pub mod net;
mod poll;
mod token;

#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;

pub use event::Events;
pub use interest::Interest;
pub use poll::{Poll, Registry, Waker};
pub use token::Token;
