//! [`Waitable`]: a handle of the user's that can be waited for, as a source.
//!
//! An arming is one [`Wait`], on a duplicate of the handle, so that the user may close his own at any time. Some objects are
//! reset by the wait that they end (an auto-reset event, a semaphore): when the pool's thread has taken such a signal,
//! nobody else will see it. So each signal that was taken is counted, and each event takes one off that count. What is
//! left is told to the next registration.
//!
//! The price: a duplicate and a look at it for each arming, and, unless the look has found it signalled, the registration
//! with the thread pool.
//!
//! # Invariants
//! - **Each taken signal counts**, once: that of the first look, and that of each wait whose callback runs. The packet of a
//!   callback comes even if its wait was dropped ([`waits`](super::waits)), and counts like any other.
//! - **A wait only while armed**: whoever disarms drops the wait, and from then on it takes no signal. One that it has
//!   taken by then is kept.
//! - **Armed means owed**: while the interest is armed, a wait is on, its packet is on the way, or a signal is kept and a
//!   note is on the way.
//!
//! # Interleavings
//! * *The wait is dropped while its callback runs*: the packet comes, of a wait that is not ours any more. If another wait
//!   is on by then, the signal is told, and that wait is dropped.
//! * *The note comes when its signal was told by another packet*: there is nothing to tell, and a wait is on if the
//!   interest is armed.

use std::io;
use std::sync::{Arc, Weak};

use super::operation::{Kind, Operation, Owner, Packet, Sink};
use super::port::{Membership, Port};
use super::waits::{Started, Wait};
use super::{ffi, Registrator};
use crate::event::{Event, Hints};
use crate::hooks::sync::{lock, Mutex};
use crate::interests::{Interests, Token};

/// See [`crate::os::windows::Waitable`], which has the handle.
pub(crate) struct Waitable(Arc<Shared>);

/// What lives as long as a packet is on the way.
struct Shared {
    membership: Membership,
    /// What the port knows the notes by. It is never started.
    notes: Operation,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    armed: Option<Token>,
    wait: Option<Wait>,
    /// How many signals were taken and not told.
    taken: usize,
    /// A note is on its way.
    noted: bool,
}

impl Waitable {
    pub(crate) fn new() -> Waitable {
        Waitable(Arc::new_cyclic(|shared: &Weak<Shared>| {
            let owner: Weak<dyn Owner> = Weak::<Shared>::clone(shared);
            Shared {
                membership: Membership::new(Weak::clone(&owner)),
                notes: Operation::new(owner, Kind::Receive),
                state: Mutex::default(),
            }
        }))
    }

    /// Arms it. If no wait is on, one begins on a duplicate of `handle`.
    pub(crate) fn register(
        &self,
        with: &Registrator,
        token: Token,
        handle: ffi::HANDLE,
    ) -> io::Result<()> {
        self.0.membership.join_without_file(&with.port)?;
        self.0.arm(&with.port, token, handle)
    }

    pub(crate) fn disarm(&self, with: &Registrator) -> io::Result<()> {
        self.0.membership.check(&with.port)?;
        self.0.abandon();
        Ok(())
    }
}

impl Drop for Waitable {
    fn drop(&mut self) {
        self.0.abandon();
        self.0.membership.leave();
    }
}

impl Shared {
    fn arm(
        self: &Arc<Self>,
        port: &Arc<Port>,
        token: Token,
        handle: ffi::HANDLE,
    ) -> io::Result<()> {
        let told = io::Error::from_raw_os_error;
        let mut state = lock(&self.state);
        if state.wait.is_none() && state.taken == 0 {
            let object = ffi::duplicate(handle).map_err(told)?;
            // This tells what cannot be waited for, too, of which the pool would say nothing.
            if ffi::take_signal(&object).map_err(told)? {
                state.taken = 1;
            } else {
                let me: Arc<dyn Owner> = Arc::<Shared>::clone(self);
                if let Started::On(wait) = Wait::start(port, me, object, false).map_err(told)? {
                    state.wait = Some(wait);
                }
            }
        }
        if state.taken > 0 && !state.noted {
            port.note(&self.notes)?;
            state.noted = true;
        }
        state.armed = Some(token);
        Ok(())
    }

    /// If it is armed and a signal was taken, makes the event, or has a poll look again.
    fn fire(&self, state: &mut State, port: &Arc<Port>, sink: Sink<'_>) {
        let Some(token) = state.armed.filter(|_| state.taken > 0) else {
            return;
        };
        if let Some(events) = sink {
            state.armed = None;
            state.taken -= 1;
            // If it has taken another signal by now, its packet will say so.
            state.wait = None;
            let event = Event::ready(token, Interests::READABLE, Hints::default());
            let fits = events.push(event);
            debug_assert!(fits, "no more packets are taken than there is room");
        } else if !state.noted {
            port.note_surely(&self.notes);
            state.noted = true;
        }
    }
}

impl Owner for Shared {
    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn completed(&self, _: Kind, _: Packet, _: &Arc<Port>, _: Sink<'_>) {
        debug_assert!(false, "its operation is never started");
    }

    fn noted(&self, _: Kind, port: &Arc<Port>, sink: Sink<'_>) {
        let mut state = lock(&self.state);
        state.noted = false;
        self.fire(&mut state, port, sink);
    }

    fn signalled(&self, number: usize, port: &Arc<Port>, sink: Sink<'_>) {
        let mut state = lock(&self.state);
        state.wait = state.wait.take().filter(|wait| wait.number() != number);
        state.taken += 1;
        self.fire(&mut state, port, sink);
    }

    /// Disarms it. This waits for nothing, also if the callback of the wait is running.
    fn abandon(&self) {
        let mut state = lock(&self.state);
        state.armed = None;
        state.wait = None;
    }
}
