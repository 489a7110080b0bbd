//! C++'s `operator new` and `operator delete`.
//!
//! Those of the standard library call `malloc` and `free`, which come by here anyway; those that an allocator brings (jemalloc, tcmalloc,
//! mimalloc) do not. So each form stands before the next one of its name, and at the start a block of each is made and freed: a form whose
//! block comes by in [`entry`] is passed on to by a jump, any other is seen here. Nothing counts twice, whatever calls what.
//!
//! Where there was no C++ at the start, there is no next one: a module that is loaded later, and would find its own operators, finds
//! these. They do what the standard library's do; where memory is short they look for those, which can throw.
#![allow(clippy::missing_safety_doc, reason = "the C++ standard says what each demands")]

use core::arch::{global_asm, naked_asm};
use core::ffi::{CStr, c_char, c_int};
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use flamekeeper_heap_core::layout::HASH;
use flamekeeper_heap_core::sampler::{self, FILTER};
use flamekeeper_heap_core::thread;

use crate::entry::{self, SHIFT, to_2_if_maybe_sampled};
use crate::next::{self, Next, Pointer, weak};

type Code = unsafe extern "C" fn();

/// A form of an operator, as the assembly knows it: where its calls go, and the next one of its name.
#[repr(C)]
struct Operator {
    entry: Next,
    next: Next,
}

const NEXT: usize = core::mem::offset_of!(Operator, next);

/// What a form is.
struct Form {
    name: &'static CStr,
    /// Counts or forgets a block, and goes on to the next one.
    seeing: Code,
    /// Does the work where there is no next one.
    alone: Code,
    /// The arguments behind the size, or the block.
    rest: [Rest; 2],
    /// For a form of `delete`: the place of the `new` that makes its blocks.
    made_by: Option<usize>,
}

/// An argument behind the first.
#[derive(Clone, Copy)]
enum Rest {
    Nothing,
    Size,
    Align,
    Nothrow,
}

impl Rest {
    fn value(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Size => 1,
            // No allocator aligns a small block so by itself.
            Self::Align => 64,
            Self::Nothrow => &raw const NOTHROW as usize,
        }
    }
}

/// 0: not looked for; 1: being looked for, or found.
static STATE: AtomicU32 = AtomicU32::new(0);
/// The block that is freed to see which way it goes; 0 once it was seen.
static PROBE: AtomicUsize = AtomicUsize::new(0);
/// What `std::nothrow` is.
static NOTHROW: u8 = 0;

global_asm!(".weak __cxa_throw", ".weak dlopen");
weak!(weak_cxx, "__cxa_throw");
weak!(weak_dlopen, "dlopen");

/// `new`: the size is subtracted first, and given back while the next one may throw.
macro_rules! seeing_new {
    ($place:literal) => {
        naked_asm!(
            ".cfi_startproc",
            "mov r11, qword ptr [rip + __flamekeeper_heap_thread@GOTTPOFF]",
            "sub qword ptr fs:[r11], rdi",
            "js 2f",
            "jmp qword ptr [rip + {operators} + {next}]",
            "2:",
            "add qword ptr fs:[r11], rdi",
            "push rdi",
            ".cfi_adjust_cfa_offset 8",
            "call qword ptr [rip + {operators} + {next}]",
            "pop rsi",
            ".cfi_adjust_cfa_offset -8",
            "mov r11, qword ptr [rip + __flamekeeper_heap_thread@GOTTPOFF]",
            "sub qword ptr fs:[r11], rsi",
            "mov rdi, rax",
            "mov rdx, rsp",
            "mov rcx, rbp",
            "push rax",
            ".cfi_adjust_cfa_offset 8",
            "call {count}",
            "pop rax",
            ".cfi_adjust_cfa_offset -8",
            "ret",
            ".cfi_endproc",
            operators = sym OPERATORS,
            next = const $place * size_of::<Operator>() + NEXT,
            count = sym entry::count,
        )
    };
}

/// A call that leaves the registers of up to three arguments as they are; `rax` is its answer.
macro_rules! calling_with_arguments_kept {
    ($function:literal) => {
        concat!(
            "push rdi\n",
            ".cfi_adjust_cfa_offset 8\n",
            "push rsi\n",
            ".cfi_adjust_cfa_offset 8\n",
            "push rdx\n",
            ".cfi_adjust_cfa_offset 8\n",
            "call ",
            $function,
            "\n",
            "pop rdx\n",
            ".cfi_adjust_cfa_offset -8\n",
            "pop rsi\n",
            ".cfi_adjust_cfa_offset -8\n",
            "pop rdi\n",
            ".cfi_adjust_cfa_offset -8",
        )
    };
}

/// `delete`: as `free`, with up to three arguments.
macro_rules! seeing_delete {
    ($place:literal) => {
        naked_asm!(
            ".cfi_startproc",
            to_2_if_maybe_sampled!(),
            "jmp qword ptr [rip + {operators} + {next}]",
            "2:",
            calling_with_arguments_kept!("{forget}"),
            "test al, al",
            "jne 3f",
            "jmp qword ptr [rip + {operators} + {next}]",
            "3: ret",
            ".cfi_endproc",
            hash = const HASH,
            shift = const SHIFT,
            filter = sym FILTER,
            operators = sym OPERATORS,
            next = const $place * size_of::<Operator>() + NEXT,
            forget = sym entry::forget,
        )
    };
}

macro_rules! operators {
    ($($place:literal $name:ident = $symbol:literal: $seeing:ident, $alone:ident, [$first:ident, $second:ident], $made_by:expr;)*) => {
        static OPERATORS: [Operator; FORMS.len()] =
            [$(Operator { entry: AtomicPtr::new($name::early as *mut _), next: AtomicPtr::new(null_mut()) }),*];

        static FORMS: [Form; 20] = [$(Form {
            // SAFETY: the only zero is the one at the end.
            name: unsafe { CStr::from_bytes_with_nul_unchecked(concat!($symbol, "\0").as_bytes()) },
            seeing: $name::seeing,
            alone: $alone,
            rest: [Rest::$first, Rest::$second],
            made_by: $made_by,
        }),*];

        $(mod $name {
            use super::*;

            #[unsafe(naked)]
            #[unsafe(export_name = $symbol)]
            pub(super) unsafe extern "C" fn entry() {
                naked_asm!("jmp qword ptr [rip + {operators} + {at}]", operators = sym OPERATORS, at = const $place * size_of::<Operator>())
            }

            /// The first call of all, if that is not the library's own.
            #[unsafe(naked)]
            pub(super) unsafe extern "C" fn early() {
                naked_asm!(
                    ".cfi_startproc",
                    calling_with_arguments_kept!("{resolve}"),
                    "jmp qword ptr [rip + {operators} + {at}]",
                    ".cfi_endproc",
                    resolve = sym resolve,
                    operators = sym OPERATORS,
                    at = const $place * size_of::<Operator>(),
                )
            }

            #[unsafe(naked)]
            pub(super) unsafe extern "C" fn seeing() {
                $seeing!($place)
            }
        })*
    };
}

operators! {
    0 new = "_Znwm": seeing_new, alone_new, [Nothing, Nothing], None;
    1 new_array = "_Znam": seeing_new, alone_new, [Nothing, Nothing], None;
    2 new_nothrow = "_ZnwmRKSt9nothrow_t": seeing_new, alone_new_nothrow, [Nothrow, Nothing], None;
    3 new_array_nothrow = "_ZnamRKSt9nothrow_t": seeing_new, alone_new_nothrow, [Nothrow, Nothing], None;
    4 new_aligned = "_ZnwmSt11align_val_t": seeing_new, alone_aligned, [Align, Nothing], None;
    5 new_array_aligned = "_ZnamSt11align_val_t": seeing_new, alone_aligned, [Align, Nothing], None;
    6 new_aligned_nothrow = "_ZnwmSt11align_val_tRKSt9nothrow_t": seeing_new, alone_aligned_nothrow, [Align, Nothrow], None;
    7 new_array_aligned_nothrow = "_ZnamSt11align_val_tRKSt9nothrow_t": seeing_new, alone_aligned_nothrow, [Align, Nothrow], None;
    8 delete = "_ZdlPv": seeing_delete, alone_free, [Nothing, Nothing], Some(0);
    9 delete_array = "_ZdaPv": seeing_delete, alone_delete, [Nothing, Nothing], Some(1);
    10 delete_nothrow = "_ZdlPvRKSt9nothrow_t": seeing_delete, alone_delete, [Nothrow, Nothing], Some(2);
    11 delete_array_nothrow = "_ZdaPvRKSt9nothrow_t": seeing_delete, alone_delete, [Nothrow, Nothing], Some(3);
    12 delete_sized = "_ZdlPvm": seeing_delete, alone_delete, [Size, Nothing], Some(0);
    13 delete_array_sized = "_ZdaPvm": seeing_delete, alone_delete, [Size, Nothing], Some(1);
    14 delete_aligned = "_ZdlPvSt11align_val_t": seeing_delete, alone_delete, [Align, Nothing], Some(4);
    15 delete_array_aligned = "_ZdaPvSt11align_val_t": seeing_delete, alone_delete, [Align, Nothing], Some(5);
    16 delete_sized_aligned = "_ZdlPvmSt11align_val_t": seeing_delete, alone_delete, [Size, Align], Some(4);
    17 delete_array_sized_aligned = "_ZdaPvmSt11align_val_t": seeing_delete, alone_delete, [Size, Align], Some(5);
    18 delete_aligned_nothrow = "_ZdlPvSt11align_val_tRKSt9nothrow_t": seeing_delete, alone_delete, [Align, Nothrow], Some(6);
    19 delete_array_aligned_nothrow = "_ZdaPvSt11align_val_tRKSt9nothrow_t": seeing_delete, alone_delete, [Align, Nothrow], Some(7);
}

/// Finds the next ones, and out which of them must be seen here.
pub(crate) extern "C" fn resolve() {
    if STATE.swap(1, Ordering::Acquire) != 0 {
        return;
    }
    next::resolve();
    let any = !weak_cxx().is_null();
    for (operator, form) in OPERATORS.iter().zip(&FORMS) {
        let found = if any { next::after(form.name) } else { null_mut() };
        let next = if found.is_null() { form.alone as Pointer } else { found };
        operator.next.store(next, Ordering::Release);
        operator.entry.store(next, Ordering::Release);
    }
    if any {
        // In this order: what calls another form finds that decided.
        OPERATORS.iter().zip(&FORMS).for_each(|(operator, form)| try_out(operator, form));
    }
}

/// Makes a block and frees it, and sees whether both come by in other functions of this library.
fn try_out(delete: &Operator, form: &Form) {
    let Some((new, maker)) = form.made_by.and_then(|place| OPERATORS.get(place).zip(FORMS.get(place))) else { return };
    let before = counter();
    let Some(block) = call(new, maker, 1) else { return };
    if counter() == before {
        new.entry.store(maker.seeing as Pointer, Ordering::Release);
    }
    sampler::watch(block);
    PROBE.store(block, Ordering::Relaxed);
    _ = call(delete, form, block);
    if PROBE.swap(0, Ordering::Relaxed) != 0 {
        delete.entry.store(form.seeing as Pointer, Ordering::Release);
    }
}

/// A block whose bit of the filter is set is freed.
pub(crate) fn note_freed(block: usize) {
    if PROBE.load(Ordering::Relaxed) == block {
        PROBE.store(0, Ordering::Relaxed);
    }
}

/// Calls the next one; what it answers, unless that is 0.
fn call(operator: &Operator, form: &Form, first: usize) -> Option<usize> {
    type Any = unsafe extern "C" fn(usize, usize, usize) -> usize;
    let [second, third] = form.rest.map(Rest::value);
    let function = operator.next.load(Ordering::Relaxed);
    // SAFETY: a form of an operator, with its arguments; registers that it does not take it does not look at.
    let answer = unsafe { transmute::<Pointer, Any>(function)(first, second, third) };
    (answer != 0).then_some(answer)
}

/// The calling thread's counter, which every allocation that comes by changes.
fn counter() -> i64 {
    // SAFETY: the calling thread's own.
    unsafe { (*thread::current()).remaining }
}

// Where there is no next one. What these call is the program's, as it would be of the standard library's.

/// `new`; `$failed` is done where neither memory is found nor an operator that can say so.
macro_rules! alone {
    ($name:ident, $place:literal, $failed:literal, [$($swap:literal),*], $allocate:path) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                // Never none.
                "cmp rdi, 1",
                "adc rdi, 0",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                $($swap,)*
                "call {allocate}",
                "test rax, rax",
                "je 2f",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_adjust_cfa_offset 24",
                "2:",
                "mov edi, {place}",
                "call {standard}",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "test rax, rax",
                "je 3f",
                "jmp rax",
                concat!("3: ", $failed),
                "ret",
                ".cfi_endproc",
                allocate = sym $allocate,
                standard = sym standard,
                place = const $place,
            )
        }
    };
}

alone!(alone_new, 0, "ud2", [], entry::malloc);
alone!(alone_new_nothrow, 2, "xor eax, eax", [], entry::malloc);
alone!(alone_aligned, 4, "ud2", ["xchg rdi, rsi"], entry::memalign);
alone!(alone_aligned_nothrow, 6, "xor eax, eax", ["xchg rdi, rsi"], entry::memalign);

#[unsafe(naked)]
unsafe extern "C" fn alone_delete() {
    naked_asm!("jmp {delete}", delete = sym delete::entry)
}

#[unsafe(naked)]
unsafe extern "C" fn alone_free() {
    naked_asm!("jmp {free}", free = sym entry::free)
}

/// The standard library's operator, where that was loaded later: it calls `malloc` once more, then the program's handler, then throws.
extern "C" fn standard(place: usize) -> Pointer {
    type Dlopen = unsafe extern "C" fn(*const c_char, c_int) -> Pointer;
    const LAZY: c_int = 1;
    const ONLY_IF_LOADED: c_int = 4;
    let (dlopen, Some(form)) = (weak_dlopen(), FORMS.get(place)) else { return null_mut() };
    if dlopen.is_null() {
        return null_mut();
    }
    for library in [c"libstdc++.so.6", c"libc++.so.1"] {
        // SAFETY: the C library's function of this type.
        let library = unsafe { transmute::<Pointer, Dlopen>(dlopen)(library.as_ptr(), LAZY | ONLY_IF_LOADED) };
        if !library.is_null() {
            return next::find_in(library, form.name);
        }
    }
    null_mut()
}
