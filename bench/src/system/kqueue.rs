//! The systems that have kqueue: the CPU times of threads, affinity if threads have it (FreeBSD), and what `sysctl` and
//! `uname` say. These systems cannot count the system calls of one thread.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// The platform's name in the output.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Whether a peer may fail without ending the run. Some need user events, which NetBSD and OpenBSD lack.
pub const PEERS_MAY_FAIL: bool = cfg!(any(target_os = "netbsd", target_os = "openbsd"));

/// Keeps the calling thread on one core. Returns whether that worked.
#[cfg(target_os = "freebsd")]
pub fn pin(core: usize) -> bool {
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpuset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(core % cores(), &mut set) };
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    // SAFETY: -1 is the calling thread; the set is as large as said, and only read.
    unsafe { libc::cpuset_setaffinity(level, which, -1, size_of::<libc::cpuset_t>(), &set) == 0 }
}

/// Lets the calling thread run on any core again.
#[cfg(target_os = "freebsd")]
pub fn unpin() {
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpuset_t = unsafe { std::mem::zeroed() };
    for core in 0..cores().min(libc::CPU_SETSIZE as usize) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    // SAFETY: -1 is the calling thread; the set is as large as said, and only read. If it fails, the thread stays where
    // it is.
    unsafe { libc::cpuset_setaffinity(level, which, -1, size_of::<libc::cpuset_t>(), &set) };
}

/// Nothing was pinned.
#[cfg(not(target_os = "freebsd"))]
pub fn unpin() {}

/// These systems have no such call.
#[cfg(not(target_os = "freebsd"))]
pub fn pin(_core: usize) -> bool {
    false
}

/// How many cores the machine has, even if this thread is pinned to one.
pub fn cores() -> usize {
    // SAFETY: it takes a number.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).map_or(1, |count| count.max(1))
}

/// The CPU time of one thread, to be read from any thread.
#[cfg(not(target_vendor = "apple"))]
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

#[cfg(not(target_vendor = "apple"))]
impl CpuClock {
    /// The calling thread's own. It is good as long as that thread lives.
    pub fn of_this_thread() -> CpuClock {
        // `libc` leaves it out for two of the four.
        extern "C" {
            fn pthread_getcpuclockid(
                thread: libc::pthread_t,
                clock: *mut libc::clockid_t,
            ) -> libc::c_int;
        }
        let mut clock = 0;
        // SAFETY: the thread exists, and the clock may be written.
        let failed = unsafe { pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(failed, 0, "a living thread has a clock");
        CpuClock(clock)
    }

    pub fn now(self) -> Duration {
        // SAFETY: it is made of numbers.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: the time may be written.
        let failed = unsafe { libc::clock_gettime(self.0, &mut time) };
        assert_eq!(failed, 0, "the thread lives as long as it is measured");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// The same by the name that the Mach kernel has for the thread.
#[cfg(target_vendor = "apple")]
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::mach_port_t);

#[cfg(target_vendor = "apple")]
impl CpuClock {
    /// The calling thread's own. It is good as long as that thread lives.
    pub fn of_this_thread() -> CpuClock {
        // SAFETY: the thread exists.
        CpuClock(unsafe { libc::pthread_mach_thread_np(libc::pthread_self()) })
    }

    pub fn now(self) -> Duration {
        // SAFETY: it is made of numbers.
        let mut info: libc::thread_basic_info = unsafe { std::mem::zeroed() };
        let mut count = libc::THREAD_BASIC_INFO_COUNT;
        let (flavor, at) = (libc::THREAD_BASIC_INFO as _, (&raw mut info).cast());
        // SAFETY: there is as much room as said.
        let failed = unsafe { libc::thread_info(self.0, flavor, at, &mut count) };
        assert_eq!(failed, 0, "the thread lives as long as it is measured");
        [info.user_time, info.system_time]
            .iter()
            .map(|time| Duration::new(time.seconds as u64, time.microseconds as u32 * 1_000))
            .sum()
    }
}

/// The kernel's number of the calling thread. It is not needed here, since system calls are not counted.
pub fn thread_number() -> i32 {
    0
}

/// The numbers of the threads of a process, of which nobody asks here.
pub fn threads_of(_process: u32) -> Option<Vec<i32>> {
    None
}

/// On other systems this counts the system calls of one thread.
#[derive(Debug)]
pub enum CallCounter {}

impl CallCounter {
    pub fn new(_thread: i32) -> Option<CallCounter> {
        None
    }

    pub fn count(&self) -> io::Result<u64> {
        match *self {}
    }
}

/// Raises the limit on descriptors as far as possible, and returns it.
pub fn most_descriptors() -> usize {
    // SAFETY: it is made of numbers.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: the limit may be written.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        // Apple's systems have a hard limit that they do not grant.
        limit.rlim_cur = soft;
    }
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
    said("sysctl", &["-n", "hw.model"])
}

/// The system's name and version.
pub fn system() -> String {
    said("uname", &["-sr"])
}

/// How busy the machine was.
pub fn load_average() -> String {
    let said = said("sysctl", &["-n", "vm.loadavg"]);
    said.trim_matches(['{', ' ', '}']).to_owned()
}

/// What a program of the system prints, or nothing if the program is missing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
