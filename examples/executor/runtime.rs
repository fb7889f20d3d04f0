//! The runtime: tasks, timers and socket operations on one `Poll`.
//! A task is a future with a `Waker` that `Registrator::waker` has made. Waking the task makes
//! `poll` return an event with the token of the task, and then the task is run. A socket operation
//! makes its call first. If that would block, it registers the socket under a token of its own, and
//! stores the task's waker under that token. When the event comes, the waker is called, and the
//! operation makes its call again.
//! A runtime for production also bounds how much a task may do in its turn. Here a task whose
//! operations never block keeps the others waiting.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{poll_fn, Future};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{Context, Poll as Step, Waker};
use std::time::{Duration, Instant};

use minimio::{Events, Interests, Poll, Registrator, Source, TcpListener, TcpStream, Token};

use crate::common::Stop;

/// A wake with this token is for no task. It only makes `poll` return.
pub(crate) const STOP: Token = 0;
const BATCH: usize = 64;
/// How long the tasks may go on after Ctrl-C.
const STOP_WITHIN: Duration = Duration::from_secs(2);

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The state that every task uses. It stays on one thread. Only the wakers may go to another.
#[derive(Clone)]
pub(crate) struct Runtime(Rc<Shared>);

struct Shared {
    registrator: Registrator,
    /// A token is never used twice, so one that comes late is never mistaken for another.
    last_token: Cell<Token>,
    spawned: RefCell<Vec<Task>>,
    /// Which waker to call when the event with this token comes.
    waiting: RefCell<HashMap<Token, Waker>>,
    /// When to call which waker. The token keeps equal times apart.
    timers: RefCell<BTreeMap<(Instant, Token), Waker>>,
}

impl Runtime {
    pub(crate) fn new(poll: &Poll) -> Runtime {
        Runtime(Rc::new(Shared {
            registrator: poll.registrator(),
            last_token: Cell::new(STOP),
            spawned: RefCell::default(),
            waiting: RefCell::default(),
            timers: RefCell::default(),
        }))
    }

    fn new_token(&self) -> Token {
        self.0.last_token.set(self.0.last_token.get() + 1);
        self.0.last_token.get()
    }

    /// Starts a task. Returns a future of its result.
    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> {
        let result = Rc::new(RefCell::new((None, None::<Waker>)));
        let ours = result.clone();
        self.0.spawned.borrow_mut().push(Box::pin(async move {
            let value = future.await;
            let (slot, waker) = &mut *ours.borrow_mut();
            *slot = Some(value);
            waker.take().into_iter().for_each(Waker::wake);
        }));
        poll_fn(move |context| {
            let (slot, waker) = &mut *result.borrow_mut();
            *waker = Some(context.waker().clone());
            slot.take().map_or(Step::Pending, Step::Ready)
        })
    }

    /// Runs all tasks until the task `main` ends, and drops the others. Returns `None` if Ctrl-C
    /// came, and then the deadline, before `main` ended.
    pub(crate) fn run<T: 'static>(
        &self,
        mut poll: Poll,
        stop: &Stop,
        main: impl Future<Output = T> + 'static,
    ) -> io::Result<Option<T>> {
        let result = Rc::new(RefCell::new(None));
        let ours = result.clone();
        drop(self.spawn(async move { *ours.borrow_mut() = Some(main.await) }));
        let mut tasks: HashMap<Token, (Task, Waker)> = HashMap::new();
        let mut queue = VecDeque::new();
        let mut events = Events::with_capacity(BATCH);
        let mut stop_by = None;
        loop {
            loop {
                for task in self.0.spawned.take() {
                    let token = self.new_token();
                    tasks.insert(token, (task, self.0.registrator.waker(token)));
                    queue.push_back(token);
                }
                let Some(token) = queue.pop_front() else {
                    break;
                };
                // A task may have been woken twice, or woken and ended.
                let Some((task, waker)) = tasks.get_mut(&token) else {
                    continue;
                };
                let mut context = Context::from_waker(waker);
                if task.as_mut().poll(&mut context).is_ready() {
                    tasks.remove(&token);
                }
            }
            if let Some(value) = result.take() {
                return Ok(Some(value));
            }
            if stop.is_asked() {
                let stop_by = *stop_by.get_or_insert_with(|| Instant::now() + STOP_WITHIN);
                if Instant::now() >= stop_by {
                    return Ok(None);
                }
            }
            let timer = self.0.timers.borrow().keys().next().map(|(at, _)| *at);
            let until = timer.into_iter().chain(stop_by).min();
            poll.poll_until(&mut events, until)?;
            for event in &events {
                if !event.is_readable() && !event.is_writable() {
                    queue.push_back(event.id()); // a wake: the token is a task
                } else if let Some(waker) = self.0.waiting.borrow_mut().remove(&event.id()) {
                    // The wake goes through the queue once more. This is the price for waking every
                    // future in the same way, from any thread.
                    waker.wake();
                }
            }
            let mut timers = self.0.timers.borrow_mut();
            let later = timers.split_off(&(Instant::now(), Token::MAX));
            let due = mem::replace(&mut *timers, later);
            due.into_values().for_each(Waker::wake);
        }
    }

    pub(crate) async fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        let accept = || listener.accept().map(|(stream, _)| stream);
        self.wait_for(listener, Interests::READABLE, accept).await
    }

    pub(crate) async fn read(&self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let read = || (&*stream).read(buffer);
        self.wait_for(stream, Interests::READABLE, read).await
    }

    pub(crate) async fn read_exact(
        &self,
        stream: &TcpStream,
        mut buffer: &mut [u8],
    ) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(stream, buffer).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    pub(crate) async fn write_all(&self, stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = || (&*stream).write(bytes);
            let count = self.wait_for(stream, Interests::WRITABLE, write).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn wait_for<'a, S, F>(
        &'a self,
        source: &'a S,
        interest: Interests,
        attempt: F,
    ) -> Operation<'a, S, F> {
        Operation {
            runtime: self,
            source,
            interest,
            attempt,
            token: None,
        }
    }

    /// A future that ends after `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep<'_> {
        Sleep {
            runtime: self,
            key: (Instant::now() + duration, self.new_token()),
        }
    }
}

/// A timer. If it is dropped before its time, it removes its entry. Most time-outs are for
/// something that comes in time, and they must not cost memory for longer.
pub(crate) struct Sleep<'a> {
    runtime: &'a Runtime,
    key: (Instant, Token),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Step<()> {
        if Instant::now() >= self.key.0 {
            return Step::Ready(());
        }
        let mut timers = self.runtime.0.timers.borrow_mut();
        timers.insert(self.key, context.waker().clone());
        Step::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.runtime.0.timers.borrow_mut().remove(&self.key);
    }
}

/// An accept, read or write that is repeated until it does not block.
struct Operation<'a, S, F> {
    runtime: &'a Runtime,
    source: &'a S,
    interest: Interests,
    attempt: F,
    token: Option<Token>,
}

impl<T, S: Source, F: FnMut() -> io::Result<T> + Unpin> Future for Operation<'_, S, F> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Step<io::Result<T>> {
        match (self.attempt)() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return Step::Ready(result),
        }
        let shared = &self.runtime.0;
        let token = self.token.unwrap_or_else(|| self.runtime.new_token());
        let waker = context.waker().clone();
        shared.waiting.borrow_mut().insert(token, waker);
        // A condition that has come true since the attempt counts, so nothing is missed in between.
        let registrator = &shared.registrator;
        let registered = registrator.register(self.source, token, self.interest);
        self.token = Some(token);
        registered.map_or_else(|error| Step::Ready(Err(error)), |()| Step::Pending)
    }
}

/// An operation that is dropped before its end leaves its interest armed. The event may still come.
/// It then finds no waker under its token and is ignored. Or the registration of the next operation
/// replaces the token.
impl<S, F> Drop for Operation<'_, S, F> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.runtime.0.waiting.borrow_mut().remove(&token);
        }
    }
}

/// The result of `a`, or `None` if `b` ends first. The other future is dropped.
pub(crate) async fn either<A: Future>(a: A, b: impl Future) -> Option<A::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| match a.as_mut().poll(context) {
        Step::Ready(value) => Step::Ready(Some(value)),
        Step::Pending => b.as_mut().poll(context).map(|_| None),
    })
    .await
}
