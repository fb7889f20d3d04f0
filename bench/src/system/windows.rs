//! Windows and Wine. A function that only Wine's `ntdll` has tells the two apart.
//! The CPU time of a thread comes from `QueryThreadCycleTime` on Windows, and the processor's time stamp counter turns
//! it into time. Wine 8 does not have that call, and its `GetThreadTimes` counts in hundredths of a second. So under
//! Wine the program asks the Linux kernel for its clock of the thread. This is the time of the thread itself, without
//! what the Wine server does for it. System calls are not counted.

use std::ffi::{c_char, CStr};
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::windows::io::AsRawSocket;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{FILETIME, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    setsockopt, LINGER, SOL_SOCKET, SO_LINGER, SO_RCVBUF, SO_SNDBUF,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, GetCurrentThreadId, GetThreadTimes, OpenThread, SetThreadAffinityMask,
    THREAD_QUERY_INFORMATION,
};
use windows_sys::Win32::System::WindowsProgramming::QueryThreadCycleTime;

/// The platform's name in the output.
pub fn platform() -> String {
    let system = if wine_version().is_some() {
        "wine"
    } else {
        "windows"
    };
    format!("{system}-{}", std::env::consts::ARCH)
}

/// Whether a peer may fail without ending the run. Under Wine a peer may fail. minimio and `bare` must run.
pub const PEERS_MAY_FAIL: bool = true;

/// A function of `ntdll` that exists only under Wine.
fn ntdll(name: &CStr) -> Option<unsafe extern "system" fn() -> isize> {
    // SAFETY: both names end in a zero byte, and `ntdll` is never unloaded.
    unsafe {
        let module = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        GetProcAddress(module, name.as_ptr().cast())
    }
}

fn wine_version() -> Option<String> {
    type Version = unsafe extern "C" fn() -> *const c_char;
    let function = ntdll(c"wine_get_version")?;
    // SAFETY: that is its type in Wine.
    let function: Version = unsafe { std::mem::transmute(function) };
    // SAFETY: it gives a text that lives as long as the process.
    let text = unsafe { CStr::from_ptr(function()) };
    Some(text.to_string_lossy().into_owned())
}

/// The name and release of the kernel below Wine.
fn wine_host() -> Option<String> {
    type Host = unsafe extern "C" fn(*mut *const c_char, *mut *const c_char);
    let function = ntdll(c"wine_get_host_version")?;
    // SAFETY: that is its type in Wine.
    let function: Host = unsafe { std::mem::transmute(function) };
    let (mut name, mut release) = (c"".as_ptr(), c"".as_ptr());
    // SAFETY: it sets both to texts that live as long as the process.
    let (name, release) = unsafe {
        function(&mut name, &mut release);
        (CStr::from_ptr(name), CStr::from_ptr(release))
    };
    Some(format!(
        "{} {}",
        name.to_string_lossy(),
        release.to_string_lossy()
    ))
}

/// Keeps the calling thread on one core. Returns whether that worked. It is not done under Wine, where a server process
/// works for both threads and cannot be pinned from here.
pub fn pin(core: usize) -> bool {
    if wine_version().is_some() && std::env::var_os("BENCH_PIN").is_none() {
        return false;
    }
    // SAFETY: it takes the calling thread and a number.
    unsafe { SetThreadAffinityMask(GetCurrentThread(), 1 << (core % cores())) != 0 }
}

/// Lets the calling thread run on any core again.
pub fn unpin() {
    let all = (0..cores()).fold(0, |mask, core| mask | 1 << core);
    // SAFETY: it takes the calling thread and a number. If it fails, the thread stays where it is.
    unsafe { SetThreadAffinityMask(GetCurrentThread(), all) };
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The CPU time of one thread, to be read from any thread.
#[derive(Debug, Clone, Copy)]
pub enum CpuClock {
    /// Linux's clock of a thread, under Wine.
    #[cfg(target_arch = "x86_64")]
    Host(i64),
    /// A handle, which is never closed, and the time that a cycle takes.
    Cycles(usize, f64),
    /// A handle, which is never closed.
    Times(usize),
}

impl CpuClock {
    /// The calling thread's own. It is good as long as that thread lives.
    pub fn of_this_thread() -> CpuClock {
        #[cfg(target_arch = "x86_64")]
        if wine_version().is_some() {
            return CpuClock::Host(host::clock_of_this_thread());
        }
        // SAFETY: the thread exists.
        let thread = unsafe { OpenThread(THREAD_QUERY_INFORMATION, 0, GetCurrentThreadId()) };
        assert!(!thread.is_null(), "a thread may ask about itself");
        let thread = thread as usize;
        match cycles(thread) {
            Some(_) => CpuClock::Cycles(thread, seconds_a_cycle()),
            None => CpuClock::Times(thread),
        }
    }

    pub fn now(self) -> Duration {
        match self {
            #[cfg(target_arch = "x86_64")]
            CpuClock::Host(clock) => host::read(clock),
            CpuClock::Cycles(thread, seconds) => {
                let cycles = cycles(thread).expect("it was known before");
                Duration::from_secs_f64(cycles as f64 * seconds)
            }
            CpuClock::Times(thread) => times(thread),
        }
    }
}

fn cycles(thread: usize) -> Option<u64> {
    let mut cycles = 0;
    // SAFETY: the handle is open, and the number may be written.
    let known = unsafe { QueryThreadCycleTime(thread as HANDLE, &mut cycles) } != 0;
    known.then_some(cycles)
}

fn times(thread: usize) -> Duration {
    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: the handle is open, and the four may be written.
    let known = unsafe { GetThreadTimes(thread as HANDLE, created, ended, kernel, user) } != 0;
    assert!(known, "the thread exists");
    let [.., kernel, user] =
        times.map(|time| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime));
    // In units of 100 ns.
    Duration::from_nanos((kernel + user) * 100)
}

/// The duration of one unit of the time stamp counter, in which Windows counts. It is measured once.
fn seconds_a_cycle() -> f64 {
    static SECONDS: OnceLock<f64> = OnceLock::new();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor that Windows runs on has it.
    let stamp = || unsafe { std::arch::x86_64::_rdtsc() };
    // On other processors the thread's own count is used, while the thread does nothing but count.
    #[cfg(not(target_arch = "x86_64"))]
    let stamp = || {
        // SAFETY: it takes nothing.
        cycles(unsafe { GetCurrentThread() } as usize).unwrap_or(0)
    };
    *SECONDS.get_or_init(|| {
        let (start, before) = (Instant::now(), stamp());
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        start.elapsed().as_secs_f64() / (stamp() - before) as f64
    })
}

/// Linux's own calls, under Wine on x86-64.
#[cfg(target_arch = "x86_64")]
mod host {
    use std::arch::asm;
    use std::time::Duration;

    const GETTID: i64 = 186;
    const CLOCK_GETTIME: i64 = 228;
    /// The low bits of a clock that is a thread's CPU time, above which its number stands inverted.
    const CPU_TIME_OF_A_THREAD: i64 = 6;

    /// # Safety
    ///
    /// - Only under Wine on Linux, and only calls that do no harm with these arguments.
    unsafe fn call(number: i64, first: i64, second: i64) -> i64 {
        let result;
        // SAFETY: the kernel changes these three registers and no other.
        unsafe {
            asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second,
                out("rcx") _, out("r11") _);
        }
        result
    }

    pub(super) fn clock_of_this_thread() -> i64 {
        // SAFETY: it takes nothing.
        let thread = unsafe { call(GETTID, 0, 0) };
        !thread << 3 | CPU_TIME_OF_A_THREAD
    }

    pub(super) fn read(clock: i64) -> Duration {
        let mut time = [0_i64; 2];
        // SAFETY: the time, seconds and nanoseconds, may be written.
        let failed = unsafe { call(CLOCK_GETTIME, clock, time.as_mut_ptr() as i64) };
        assert_eq!(failed, 0, "the thread lives as long as it is measured");
        Duration::new(time[0] as u64, time[1] as u32)
    }
}

/// The system's number of the calling thread.
pub fn thread_number() -> i32 {
    // SAFETY: it takes nothing.
    unsafe { GetCurrentThreadId() as i32 }
}

/// The numbers of the threads of a process, of which nobody asks here.
pub fn threads_of(_process: u32) -> Option<Vec<i32>> {
    None
}

/// System calls are not counted on Windows.
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

/// There is no limit to raise.
pub fn most_descriptors() -> usize {
    usize::MAX
}

/// Makes closing the socket reset the connection, so that no port stays in TIME_WAIT.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = LINGER {
        l_onoff: 1,
        l_linger: 0,
    };
    let (at, length) = (std::ptr::from_ref(&linger), size_of::<LINGER>() as i32);
    let socket = stream.as_raw_socket() as usize;
    // SAFETY: the value is as long as said, and only read.
    unsafe { setsockopt(socket, SOL_SOCKET, SO_LINGER, at.cast(), length) };
}

/// Chooses how much the kernel holds of what a stream has to send, and of what has come.
pub fn set_buffers(stream: &TcpStream, bytes: usize) {
    let bytes = bytes as i32;
    let (at, length) = (std::ptr::from_ref(&bytes), size_of::<i32>() as i32);
    let socket = stream.as_raw_socket() as usize;
    for name in [SO_SNDBUF, SO_RCVBUF] {
        // SAFETY: the value is as long as said, and only read.
        unsafe { setsockopt(socket, SOL_SOCKET, name, at.cast(), length) };
    }
}

/// The name of the processor, as the processor gives it.
pub fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        /// The leaves of `cpuid` that hold the name, 16 bytes each.
        const NAME: std::ops::RangeInclusive<u32> = 0x8000_0002..=0x8000_0004;
        let bytes: Vec<u8> = NAME
            .flat_map(|leaf| {
                let part = std::arch::x86_64::__cpuid(leaf);
                [part.eax, part.ebx, part.ecx, part.edx]
            })
            .flat_map(u32::to_le_bytes)
            .filter(|byte| *byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_default()
}

/// The system's name and version.
pub fn system() -> String {
    match wine_version() {
        Some(version) => format!("Wine {version} on {}", wine_host().unwrap_or_default()),
        None => "Windows".into(),
    }
}

/// How busy the machine was, if Wine gives access to that file.
pub fn load_average() -> String {
    let text = fs::read_to_string(r"Z:\proc\loadavg").unwrap_or_default();
    text.trim().to_owned()
}
