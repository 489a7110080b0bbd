//! Names of hosts in programs that are linked statically.

/// Has names looked up in `/etc/hosts` and by DNS alone, with code that is in this program. To be called before any thread is made.
///
/// The C library otherwise loads what `/etc/nsswitch.conf` names (`resolve`, `myhostname`) from the host, which was built for the host's
/// own C library and may do anything in a program that brought another. In a program that is linked dynamically this does nothing.
pub fn without_modules_of_the_host() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    {
        use std::ffi::{c_char, c_int};
        unsafe extern "C" {
            /// glibc's `nss.h`.
            fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
        }
        // SAFETY: both are texts that end with a zero and live for ever; the function copies what it keeps. No other thread looks names up.
        let refused = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        debug_assert_eq!(refused, 0, "glibc knows this database");
    }
}
