//! The allocator behind this library.

use core::arch::{global_asm, naked_asm};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::early;

pub(crate) type Pointer = *mut c_void;

/// A function of the allocator, as the assembly jumps to it.
pub(crate) type Next = AtomicPtr<c_void>;

pub(crate) static MALLOC: Next = Next::new(early_malloc as *mut c_void);
pub(crate) static CALLOC: Next = Next::new(early_calloc as *mut c_void);
pub(crate) static REALLOC: Next = Next::new(early_realloc as *mut c_void);
pub(crate) static REALLOCARRAY: Next = Next::new(early_reallocarray as *mut c_void);
pub(crate) static FREE: Next = Next::new(early_free as *mut c_void);
pub(crate) static ALIGNED_ALLOC: Next = Next::new(early_aligned as *mut c_void);
pub(crate) static MEMALIGN: Next = Next::new(early_aligned as *mut c_void);
pub(crate) static POSIX_MEMALIGN: Next = Next::new(early_posix_memalign as *mut c_void);
pub(crate) static VALLOC: Next = Next::new(early_valloc as *mut c_void);
pub(crate) static PVALLOC: Next = Next::new(early_pvalloc as *mut c_void);

/// 0: not looked for; 1: being looked for; 2: found.
static STATE: AtomicU32 = AtomicU32::new(0);

const PAGE: usize = 4096;

// Not there in every program: their address is null then.
global_asm!(
    ".weak dlsym",
    ".weak environ",
    ".weak __libc_stack_end",
    ".weak __libc_malloc",
    ".weak __libc_calloc",
    ".weak __libc_realloc",
    ".weak __libc_free",
    ".weak __libc_memalign",
    ".weak __register_atfork",
);

/// A function that answers the address of a weak symbol.
macro_rules! weak {
    ($name:ident, $symbol:literal) => {
        #[unsafe(naked)]
        extern "C" fn $name() -> $crate::next::Pointer {
            naked_asm!(concat!("mov rax, qword ptr [rip + ", $symbol, "@GOTPCREL]"), "ret")
        }
    };
}

pub(crate) use weak;

weak!(weak_dlsym, "dlsym");
weak!(weak_environ, "environ");
weak!(weak_stack_end, "__libc_stack_end");
weak!(weak_malloc, "__libc_malloc");
weak!(weak_calloc, "__libc_calloc");
weak!(weak_realloc, "__libc_realloc");
weak!(weak_free, "__libc_free");
weak!(weak_memalign, "__libc_memalign");
weak!(weak_register_atfork, "__register_atfork");

/// The environment, as far as the C library knows it.
pub(crate) fn environ() -> *const *const c_char {
    let variable = weak_environ().cast::<*const *const c_char>();
    // SAFETY: the C library's variable of this type.
    if variable.is_null() { core::ptr::null() } else { unsafe { *variable } }
}

/// Where the main thread's stack began (glibc).
pub(crate) fn stack_end() -> *const usize {
    let variable = weak_stack_end().cast::<*const usize>();
    // SAFETY: the dynamic linker's variable of this type.
    if variable.is_null() { core::ptr::null() } else { unsafe { *variable } }
}

/// Has a function called in each child, right after its fork (glibc).
pub(crate) fn at_fork(child: extern "C" fn()) {
    type Register = unsafe extern "C" fn(Pointer, Pointer, extern "C" fn(), Pointer) -> c_int;
    let register = weak_register_atfork();
    if !register.is_null() {
        // SAFETY: the C library's function of this type; it may allocate.
        _ = unsafe { transmute::<*mut c_void, Register>(register)(null_mut(), null_mut(), child, null_mut()) };
    }
}

/// Finds the allocator. Threads that come meanwhile, and the search itself, get early memory.
pub(crate) fn resolve() {
    if STATE.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    // Those that a failing search for others might call come first.
    find(&MALLOC, c"malloc", weak_malloc());
    find(&FREE, c"free", weak_free());
    find(&CALLOC, c"calloc", weak_calloc());
    find(&REALLOC, c"realloc", weak_realloc());
    find(&MEMALIGN, c"memalign", weak_memalign());
    find(&ALIGNED_ALLOC, c"aligned_alloc", weak_memalign());
    find(&POSIX_MEMALIGN, c"posix_memalign", null_mut());
    find(&REALLOCARRAY, c"reallocarray", null_mut());
    find(&VALLOC, c"valloc", null_mut());
    find(&PVALLOC, c"pvalloc", null_mut());
    STATE.store(2, Ordering::Release);
}

fn find(next: &Next, name: &CStr, otherwise: Pointer) {
    let found = after(name);
    let found = if found.is_null() { otherwise } else { found };
    if !found.is_null() {
        next.store(found, Ordering::Release);
    }
}

/// What a name means to the libraries behind this one.
pub(crate) fn after(name: &CStr) -> Pointer {
    const RTLD_NEXT: Pointer = usize::MAX as Pointer;
    find_in(RTLD_NEXT, name)
}

/// What a name means in a library; null where nothing.
pub(crate) fn find_in(library: Pointer, name: &CStr) -> Pointer {
    type Dlsym = unsafe extern "C" fn(Pointer, *const c_char) -> Pointer;
    let dlsym = weak_dlsym();
    // SAFETY: the C library's function of this type, called from this library, whose place in the order it goes by.
    if dlsym.is_null() { null_mut() } else { unsafe { transmute::<Pointer, Dlsym>(dlsym)(library, name.as_ptr()) } }
}

/// The function that stands behind `next`, unless it is still `early`.
fn found(next: &Next, early: *mut c_void) -> Option<Pointer> {
    resolve();
    let function = next.load(Ordering::Acquire);
    (function != early).then_some(function)
}

macro_rules! call {
    ($next:expr, fn($($kind:ty),*) -> $result:ty, ($($argument:expr),*)) => {{
        let function = $next.load(Ordering::Relaxed);
        // SAFETY: the allocator's function of this name, or the early one, which has the same type.
        unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($kind),*) -> $result>(function)($($argument),*) }
    }};
}

pub(crate) fn malloc(size: usize) -> Pointer {
    call!(MALLOC, fn(usize) -> Pointer, (size))
}

pub(crate) fn calloc(count: usize, size: usize) -> Pointer {
    call!(CALLOC, fn(usize, usize) -> Pointer, (count, size))
}

pub(crate) fn realloc(block: Pointer, size: usize) -> Pointer {
    call!(REALLOC, fn(Pointer, usize) -> Pointer, (block, size))
}

pub(crate) fn posix_memalign(result: *mut Pointer, align: usize, size: usize) -> c_int {
    call!(POSIX_MEMALIGN, fn(*mut Pointer, usize, usize) -> c_int, (result, align, size))
}

/// `aligned_alloc`, `memalign`.
pub(crate) fn aligned(next: &Next, align: usize, size: usize) -> Pointer {
    call!(next, fn(usize, usize) -> Pointer, (align, size))
}

/// `valloc`, `pvalloc`.
pub(crate) fn paged(next: &Next, size: usize) -> Pointer {
    call!(next, fn(usize) -> Pointer, (size))
}

// Called until the allocator is found, and for good where it lacks the function.

extern "C" fn early_malloc(size: usize) -> Pointer {
    if found(&MALLOC, early_malloc as *mut c_void).is_some() { malloc(size) } else { early::allocate(1, size).cast() }
}

extern "C" fn early_calloc(count: usize, size: usize) -> Pointer {
    if found(&CALLOC, early_calloc as *mut c_void).is_some() {
        return calloc(count, size);
    }
    count.checked_mul(size).map_or(null_mut(), |size| early::allocate(1, size).cast())
}

extern "C" fn early_realloc(block: Pointer, size: usize) -> Pointer {
    if found(&REALLOC, early_realloc as *mut c_void).is_some() {
        return realloc(block, size);
    }
    let new = early::allocate(1, size);
    if !block.is_null() && !new.is_null() && early::is_ours(block as usize) {
        copy(block, new.cast(), size.min(early::readable(block as usize)));
    }
    new.cast()
}

extern "C" fn early_reallocarray(_: Pointer, _: usize, _: usize) -> Pointer {
    // Reached for a product that overflows only.
    null_mut()
}

extern "C" fn early_free(block: Pointer) {
    // What was allocated so far is early memory, which is not used again.
    if found(&FREE, early_free as *mut c_void).is_some() {
        call!(FREE, fn(Pointer) -> (), (block));
    }
}

extern "C" fn early_aligned(align: usize, size: usize) -> Pointer {
    let early = early_aligned as *mut c_void;
    for next in [&MEMALIGN, &ALIGNED_ALLOC] {
        if found(next, early).is_some() {
            return aligned(next, align, size);
        }
    }
    early::allocate(align, size).cast()
}

extern "C" fn early_posix_memalign(result: *mut Pointer, align: usize, size: usize) -> c_int {
    const EINVAL: c_int = 22;
    const ENOMEM: c_int = 12;
    if found(&POSIX_MEMALIGN, early_posix_memalign as *mut c_void).is_some() {
        return posix_memalign(result, align, size);
    }
    if !align.is_power_of_two() || !align.is_multiple_of(8) {
        return EINVAL;
    }
    let block = early_aligned(align, size);
    if block.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller's place for the result.
    unsafe { result.write(block) };
    0
}

extern "C" fn early_valloc(size: usize) -> Pointer {
    if found(&VALLOC, early_valloc as *mut c_void).is_some() { paged(&VALLOC, size) } else { early_aligned(PAGE, size) }
}

extern "C" fn early_pvalloc(size: usize) -> Pointer {
    if found(&PVALLOC, early_pvalloc as *mut c_void).is_some() {
        return paged(&PVALLOC, size);
    }
    size.checked_next_multiple_of(PAGE).map_or(null_mut(), |size| early_aligned(PAGE, size))
}

/// Copies from early memory.
pub(crate) fn copy(from: Pointer, to: Pointer, length: usize) {
    // SAFETY: the caller has checked that both hold so much; they do not overlap, since early memory is handed out once.
    unsafe { core::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), length) };
}
