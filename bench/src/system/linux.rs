//! Linux: affinity, the CPU clocks of threads, and the kernel's trace point for system calls.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The platform's name in the output.
pub fn platform() -> String {
    format!("linux-{}", std::env::consts::ARCH)
}

/// Whether a peer may fail without ending the run. On Linux all of them work.
pub const PEERS_MAY_FAIL: bool = false;

/// Keeps the calling thread on one core. Returns whether that worked.
pub fn pin(core: usize) -> bool {
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(core % cores(), &mut set) };
    // SAFETY: the set is as large as said, and only read.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}

/// Lets the calling thread run on any core again.
pub fn unpin() {
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in 0..cores().min(libc::CPU_SETSIZE as usize) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set is as large as said, and only read. If it fails, the thread stays where it is.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}

/// How many cores the machine has, even if this thread is pinned to one.
pub fn cores() -> usize {
    // SAFETY: it takes a number.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).map_or(1, |count| count.max(1))
}

/// The CPU time of one thread, to be read from any thread.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The calling thread's own. It is good as long as that thread lives.
    pub fn of_this_thread() -> CpuClock {
        let mut clock = 0;
        // SAFETY: the thread exists, and the clock may be written.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(failed, 0, "a living thread has a clock");
        CpuClock(clock)
    }

    pub fn now(self) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the time may be written.
        let failed = unsafe { libc::clock_gettime(self.0, &mut time) };
        assert_eq!(failed, 0, "the thread lives as long as it is measured");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// The kernel's number of the calling thread.
pub fn thread_number() -> i32 {
    // SAFETY: it takes nothing.
    unsafe { libc::gettid() }
}

/// The numbers of the threads of a process. `None` if the system does not tell.
pub fn threads_of(process: u32) -> Option<Vec<i32>> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let number = |thread: fs::DirEntry| thread.file_name().to_str()?.parse().ok();
    Some(threads.flatten().filter_map(number).collect())
}

/// Counts the system calls of one thread, by a trace point of the kernel. This makes each call slower, so nothing may
/// be timed meanwhile.
#[derive(Debug)]
pub struct CallCounter(OwnedFd);

impl CallCounter {
    /// Returns `None` if the kernel or the rights of this process do not allow it. It needs root and a mounted tracefs.
    pub fn new(thread: i32) -> Option<CallCounter> {
        let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|at| {
                fs::read_to_string(format!("{at}/events/raw_syscalls/sys_enter/id")).ok()
            })?;
        /// The first version of `struct perf_event_attr`.
        #[repr(C)]
        #[derive(Default)]
        struct Attributes {
            kind: u32,
            size: u32,
            config: u64,
            rest: [u64; 6],
        }
        const PERF_TYPE_TRACEPOINT: u32 = 2;
        let attributes = Attributes {
            kind: PERF_TYPE_TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: id.trim().parse().ok()?,
            rest: [0; 6],
        };
        // SAFETY: the attributes are as large as they say, and only read.
        let fd =
            unsafe { libc::syscall(libc::SYS_perf_event_open, &attributes, thread, -1, -1, 0) };
        // SAFETY: a number that is not negative is a new descriptor.
        (fd >= 0).then(|| CallCounter(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub fn count(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        // SAFETY: there is room for the 8 bytes.
        let got = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if got != 8 {
            return Err(io::Error::last_os_error());
        }
        Ok(u64::from_ne_bytes(count))
    }
}

/// Raises the limit on descriptors as far as possible, and returns it.
pub fn most_descriptors() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit may be written.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is only read.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Makes closing the socket reset the connection, so that no port stays in TIME_WAIT.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
    let value = std::ptr::from_ref(&linger).cast();
    // SAFETY: the value is as long as said, and only read.
    unsafe { libc::setsockopt(stream.as_raw_fd(), level, name, value, length) };
}

/// Chooses how much the kernel holds of what a stream has to send, and of what has come.
pub fn set_buffers(stream: &TcpStream, bytes: usize) {
    let bytes = bytes as libc::c_int;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value = std::ptr::from_ref(&bytes).cast();
    for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        // SAFETY: the value is as long as said, and only read.
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, name, value, length) };
    }
}

/// The processor's name.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split(':').nth(1));
    name.unwrap_or_default().trim().to_owned()
}

/// The system's name and version.
pub fn system() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", kernel.trim())
}

/// How busy the machine was.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.trim().to_owned()
}
