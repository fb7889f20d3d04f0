//! Windows: the times of the process. Under Wine they count in hundredths of a second, so there the program asks the Linux
//! kernel for its clock of the process. That is the time of the process itself, without what the Wine server does for it.

use std::time::Duration;

use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessTimes};

pub fn time_of_this_process() -> Duration {
    #[cfg(target_arch = "x86_64")]
    if is_wine() {
        return host_time();
    }
    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: the handle stands for this process, and the four may be written.
    let known = unsafe { GetProcessTimes(GetCurrentProcess(), created, ended, kernel, user) } != 0;
    assert!(known, "a process may ask about itself");
    let [.., kernel, user] =
        times.map(|time| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime));
    // In units of 100 ns.
    Duration::from_nanos((kernel + user) * 100)
}

/// Whether `ntdll` has a function that exists only under Wine.
#[cfg(target_arch = "x86_64")]
fn is_wine() -> bool {
    // SAFETY: both names end in a zero byte, and `ntdll` is never unloaded.
    unsafe {
        let module = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        GetProcAddress(module, c"wine_get_version".as_ptr().cast()).is_some()
    }
}

/// Linux's clock of this process.
#[cfg(target_arch = "x86_64")]
fn host_time() -> Duration {
    const CLOCK_GETTIME: i64 = 228;
    const CLOCK_PROCESS_CPUTIME_ID: i64 = 2;
    let mut time = [0_i64; 2];
    let failed: i64;
    // SAFETY: under Wine on Linux this is the kernel's `clock_gettime`. It writes the seconds and the nanoseconds, and
    // changes these three registers and no other.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") CLOCK_GETTIME => failed,
            in("rdi") CLOCK_PROCESS_CPUTIME_ID, in("rsi") time.as_mut_ptr(), out("rcx") _, out("r11") _);
    }
    assert_eq!(failed, 0, "every process has this clock");
    Duration::new(time[0] as u64, time[1] as u32)
}

/// Not on Windows, since under Wine another process works for this one, and is on no core of its own.
pub fn pin_to_first_core() {}

/// Nothing was pinned.
pub fn pin_to_all_cores() {}
