//! What happens when the shim is loaded: before any code of the program's own runs.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::Ordering;

use super::page::{Page, SIZE, VARIABLE};
use super::{hooks, real};

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, from: i64) -> *mut c_void;
}

/// `O_RDWR | O_CLOEXEC`
const READ_WRITE_CLOEXEC: c_int = 0o2000002;
/// `PROT_READ | PROT_WRITE`
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;
const MAP_FAILED: isize = -1;

#[used]
#[unsafe(link_section = ".init_array")]
static ATTACH: extern "C" fn() = attach;

/// Looks the real functions up and finds the page. Without a page the shim stays out of the way.
extern "C" fn attach() {
    real::resolve();
    for function in hooks::WAITS {
        function.resolve();
    }
    // SAFETY: strings end with a zero; the mapping is new and stays for the life of the process.
    unsafe {
        let path = getenv(VARIABLE.as_ptr());
        if path.is_null() {
            return;
        }
        let fd = open(path, READ_WRITE_CLOEXEC);
        if fd < 0 {
            return;
        }
        let mapped = mmap(ptr::null_mut(), SIZE, PROT_READ_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        let page: *mut Page = mapped.cast();
        if mapped as isize != MAP_FAILED && (*page).is_begun() {
            (*page).attached.fetch_add(1, Ordering::Relaxed);
            hooks::set_page(page);
        }
    }
}
