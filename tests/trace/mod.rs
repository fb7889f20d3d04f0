//! Counts the system calls of a part of a test, exactly, with `ptrace(2)`.
//! A test starts its own program once more, as a traced child that runs only this test. Between two marks the child
//! does what is to be measured. The other end of its connections is in the parent, which is not traced.

// Every test file is a program of its own, and uses only a part of this module.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::{size_of, MaybeUninit};
use std::net;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::thread;

use libc::{c_int, c_long, c_uint, c_void, pid_t};

/// The variable that tells the child that it is one, and where its peer listens.
const CHILD: &str = "MINIMIO_TRACED_CHILD";

/// A system call that does nothing and that no other code makes.
const MARK: c_long = libc::SYS_getppid;

const SYS_EPOLL_PWAIT2: c_long = 441;

/// See `PTRACE_GET_SYSCALL_INFO` in ptrace(2), Linux 5.3. Not every C library declares it.
const PTRACE_GET_SYSCALL_INFO: c_uint = 0x420e;
const SYSCALL_ENTRY: u8 = 1;
const SYSCALL_EXIT: u8 = 2;

#[repr(C)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// At the entry of a call its number and its arguments. At the exit its result.
    data: [u64; 8],
}

/// How often each system call was made between the marks.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: BTreeMap<c_long, usize>,
    /// How often the result was more than 0.
    positive: BTreeMap<c_long, usize>,
}

impl Calls {
    fn sum(counts: &BTreeMap<c_long, usize>, numbers: &[c_long]) -> usize {
        numbers.iter().filter_map(|number| counts.get(number)).sum()
    }

    const WAITS: [c_long; 3] = [
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        SYS_EPOLL_PWAIT2,
    ];

    pub(crate) fn all(&self) -> usize {
        self.made.values().sum()
    }

    pub(crate) fn waits(&self) -> usize {
        Calls::sum(&self.made, &Calls::WAITS)
    }

    /// The waits that returned events.
    pub(crate) fn fruitful_waits(&self) -> usize {
        Calls::sum(&self.positive, &Calls::WAITS)
    }

    pub(crate) fn epoll_ctls(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_epoll_ctl])
    }

    pub(crate) fn polls(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_poll, libc::SYS_ppoll])
    }

    pub(crate) fn receives(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_recvfrom, libc::SYS_read])
    }

    pub(crate) fn sends(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_sendto])
    }

    pub(crate) fn vectored_sends(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_sendmsg])
    }

    pub(crate) fn writes(&self) -> usize {
        Calls::sum(&self.made, &[libc::SYS_write])
    }
}

/// The first call begins the counting, and the next call ends it.
pub(crate) fn mark() {
    // SAFETY: the call takes no arguments and returns a number.
    unsafe { libc::getppid() };
}

/// Runs `child` in a traced process and `peer` in a thread of this process, and counts the system calls that all
/// threads of the child make between its two marks. `test` is the name of the test that calls this, and the test must
/// do nothing else.
pub(crate) fn traced(test: &str, child: fn(net::SocketAddr), peer: fn(net::TcpListener)) -> Calls {
    if let Ok(address) = std::env::var(CHILD) {
        // This call tells the tracer which thread to count. The test harness and the watchdog have threads of their
        // own.
        mark();
        child(address.parse().unwrap());
        std::process::exit(0);
    }
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, listener.local_addr().unwrap().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // If the child fails, the peer may wait for it for ever. So the test does not wait for the peer.
    thread::spawn(move || peer(listener));
    let (status, calls) = trace(command);
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "the traced child failed: {status:#x}"
    );
    calls
}

/// The same for a child that is its own peer.
pub(crate) fn no_peer(_: net::TcpListener) {}

// `wait` collects the child and all of its threads.
#[allow(clippy::zombie_processes)]
fn trace(mut command: Command) -> (c_int, Calls) {
    let trace_me = || ptrace(libc::PTRACE_TRACEME, 0, null_mut(), null_mut()).map(drop);
    // SAFETY: between fork and exec the closure makes one bare system call, and allocates nothing.
    unsafe { command.pre_exec(trace_me) };
    let child = command.spawn().unwrap();
    let child = pid_t::try_from(child.id()).unwrap();

    // The child stops when it executes the program.
    let (stopped, status) = wait();
    assert!(stopped == child && libc::WIFSTOPPED(status), "{status:#x}");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    let options = usize::try_from(options).unwrap() as *mut c_void;
    ptrace(libc::PTRACE_SETOPTIONS, child, null_mut(), options).unwrap();
    resume(child, 0);

    let mut tally = Tally::default();
    let mut threads = BTreeSet::from([child]);
    loop {
        let (thread, status) = wait();
        if !libc::WIFSTOPPED(status) {
            if thread == child {
                return (status, tally.calls);
            }
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        let is_new = threads.insert(thread);
        if signal == libc::SIGTRAP | 0x80 {
            tally.note(thread);
            resume(thread, 0);
        } else if status >> 16 == libc::PTRACE_EVENT_CLONE {
            tally.made_thread(thread);
            resume(thread, 0);
        } else if is_new && signal == libc::SIGSTOP {
            // Every thread begins with this stop. It is not a signal that the child has sent.
            resume(thread, 0);
        } else {
            resume(thread, signal);
        }
    }
}

/// The counts, and the threads that are counted.
#[derive(Default)]
struct Tally {
    calls: Calls,
    counting: bool,
    /// The thread that made the introducing call, and those that it has started since, with the system call that each
    /// is in.
    within: BTreeMap<pid_t, Option<c_long>>,
}

impl Tally {
    /// Records that a system call begins or ends.
    fn note(&mut self, thread: pid_t) {
        let info = syscall_info(thread);
        let number = c_long::try_from(info.data[0]).unwrap_or(-1);
        let begins = info.op == SYSCALL_ENTRY;
        let Some(within) = self.within.get_mut(&thread) else {
            if begins && number == MARK {
                self.within.insert(thread, None);
            }
            return;
        };
        if begins {
            *within = None;
            if number == MARK {
                self.counting = !self.counting;
            } else if self.counting {
                *within = Some(number);
                *self.calls.made.entry(number).or_default() += 1;
            }
        } else if info.op == SYSCALL_EXIT {
            // The result is signed, so a failure looks like a huge number.
            if let (Some(number), 1..=0x7fff_ffff) = (*within, info.data[0]) {
                *self.calls.positive.entry(number).or_default() += 1;
            }
        }
    }

    fn made_thread(&mut self, maker: pid_t) {
        if self.within.contains_key(&maker) {
            let mut made: libc::c_ulong = 0;
            let room: *mut libc::c_ulong = &mut made;
            ptrace(libc::PTRACE_GETEVENTMSG, maker, null_mut(), room.cast()).unwrap();
            self.within.insert(pid_t::try_from(made).unwrap(), None);
        }
    }
}

fn syscall_info(thread: pid_t) -> SyscallInfo {
    let mut info = MaybeUninit::<SyscallInfo>::zeroed();
    ptrace(
        PTRACE_GET_SYSCALL_INFO,
        thread,
        size_of::<SyscallInfo>() as *mut c_void,
        info.as_mut_ptr().cast(),
    )
    .unwrap();
    // SAFETY: every bit pattern is a valid value, and the kernel has filled the memory, which was zero before.
    unsafe { info.assume_init() }
}

/// Lets the thread go on until its next system call begins or ends.
fn resume(thread: pid_t, signal: c_int) {
    let signal = usize::try_from(signal).unwrap() as *mut c_void;
    // This fails only if the thread was killed meanwhile. The next wait shows that.
    drop(ptrace(libc::PTRACE_SYSCALL, thread, null_mut(), signal));
}

/// Waits until something that this thread traces stops or ends. It does not touch the children of other tests.
fn wait() -> (pid_t, c_int) {
    let mut status = 0;
    // SAFETY: the kernel may write the status as long as the call lasts.
    let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(thread > 0, "{}", io::Error::last_os_error());
    (thread, status)
}

fn ptrace(
    request: c_uint,
    thread: pid_t,
    address: *mut c_void,
    data: *mut c_void,
) -> io::Result<c_long> {
    // The type of the request differs between C libraries.
    // SAFETY: each caller passes what the manual asks for with that request, and lends it as long as the call lasts.
    let result = unsafe { libc::ptrace(request as _, thread, address, data) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
