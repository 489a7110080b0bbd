//! Where the fields stand in the structures of each version of CPython.
//!
//! 3.13 and 3.14 state them themselves: `_PyRuntime` begins with `struct _Py_DebugOffsets`
//! (`Include/internal/pycore_runtime.h` in 3.13, `pycore_debug_offsets.h` in 3.14), whose own layout belongs to the minor
//! version. For 3.11 and 3.12 the tables here were made with `offsetof` from their headers: `struct _PyInterpreterFrame`
//! (`internal/pycore_frame.h`), `PyThreadState` and `_PyCFrame` (`cpython/pystate.h`), `PyInterpreterState`
//! (`internal/pycore_interp.h`), `_PyRuntimeState` (`internal/pycore_runtime.h`), `PyCodeObject` (`cpython/code.h`),
//! `PyASCIIObject` (`cpython/unicodeobject.h`). These structures do not change within a minor version. All are those of
//! 64-bit builds.

/// What the program in the kernel needs to follow a thread's frames. All are offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// The current frame in `PyThreadState`, or the `_PyCFrame` that has it.
    pub top: u16,
    /// The current frame in `_PyCFrame`, where there is one.
    pub through: Option<u16>,
    /// The code object in `_PyInterpreterFrame`.
    pub code: u16,
    /// The caller's frame.
    pub previous: u16,
    /// The instruction.
    pub instruction: u16,
    /// Two bytes of which [`OwnerRule`] makes sense.
    pub owner: u16,
    /// Bits of the pointer to the code object that are a tag.
    pub code_tag: u64,
    /// `co_filename`, `co_name`, `co_qualname` and `co_linetable` in the code object, side by side.
    pub names: u16,
}

/// How a frame tells that it is the one by which C code entered the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerRule {
    /// 3.11: a flag on the outermost frame of each call of `_PyEval_EvalFrameDefault`, in the lower byte.
    EntryFlag,
    /// Later: a frame of its own without Python code, whose owner is this or more.
    From(u8),
}

/// Where the interpreter's threads are found. All are offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLayout {
    /// The first interpreter in `_PyRuntime`.
    pub interpreters: u64,
    /// The next interpreter in `PyInterpreterState`.
    pub next_interpreter: u64,
    /// The first thread in `PyInterpreterState`.
    pub threads: u64,
    /// The next thread in `PyThreadState`.
    pub next_thread: u64,
    /// Its interpreter.
    pub interpreter: u64,
    /// Its id, as the kernel numbers it in the process's pid namespace.
    pub native_id: u64,
}

/// Where a code object's fields stand, and those of the texts that it points to. All are offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// `co_filename`; name, qualified name and line table follow.
    pub names: u64,
    /// `co_firstlineno`.
    pub first_line: u64,
    /// `_co_firsttraceable`: the first instruction that counts as the function's own.
    pub first_traceable: u64,
    /// The bytecode.
    pub bytecode: u64,
    /// The text of a compact ASCII string: the size of `PyASCIIObject`.
    pub ascii: u64,
    /// The text of another compact string: the size of `PyCompactUnicodeObject`.
    pub unicode: u64,
}

/// All that is known of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// For the program in the kernel.
    pub frame: FrameLayout,
    /// How to tell entry frames.
    pub owner: OwnerRule,
    /// For finding threads.
    pub threads: ThreadLayout,
    /// For naming.
    pub code: CodeLayout,
}

/// Why the frames of an interpreter cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It is another version than those that are known.
    #[error("Python {}.{} is not among the versions that can be read (3.11 to 3.14)", version >> 24, version >> 16 & 0xff)]
    Version {
        /// `Py_Version`: 0x030b07f0 is 3.11.7.
        version: u32,
    },
    /// It is built without the global interpreter lock, which moves bytecode to a copy for each thread.
    #[error("a Python without the global interpreter lock cannot be read")]
    FreeThreaded,
    /// It says nothing of its layout, or something impossible.
    #[error("this Python does not state its layout (`_Py_DebugOffsets`) as its version should")]
    Layout,
}

/// Bytes of `_PyRuntime` to read for [`Offsets::of`].
pub const RUNTIME_HEAD: usize = 768;

impl Offsets {
    /// The offsets of the version `Py_Version`; `runtime` is the beginning of its `_PyRuntime`.
    ///
    /// # Errors
    /// [`Unsupported`] says why there are none.
    pub fn of(version: u32, runtime: &[u8]) -> Result<Self, Unsupported> {
        match version >> 16 {
            0x030b => Ok(PYTHON_3_11),
            0x030c => Ok(PYTHON_3_12),
            0x030d => stated(version, runtime, &STATED_3_13),
            0x030e => stated(version, runtime, &STATED_3_14),
            _ => Err(Unsupported::Version { version }),
        }
    }
}

const PYTHON_3_11: Offsets = Offsets {
    frame: FrameLayout { top: 56, through: Some(8), code: 32, previous: 48, instruction: 56, owner: 68, code_tag: 0, names: 112 },
    owner: OwnerRule::EntryFlag,
    threads: ThreadLayout { interpreters: 40, next_interpreter: 0, threads: 16, next_thread: 8, interpreter: 16, native_id: 160 },
    code: CodeLayout { names: 112, first_line: 72, first_traceable: 168, bytecode: 184, ascii: 48, unicode: 72 },
};

const PYTHON_3_12: Offsets = Offsets {
    frame: FrameLayout { top: 56, through: Some(0), code: 0, previous: 8, instruction: 56, owner: 70, code_tag: 0, names: 112 },
    // FRAME_OWNED_BY_CSTACK.
    owner: OwnerRule::From(3),
    threads: ThreadLayout { interpreters: 40, next_interpreter: 0, threads: 72, next_thread: 8, interpreter: 16, native_id: 144 },
    code: CodeLayout { names: 112, first_line: 68, first_traceable: 176, bytecode: 192, ascii: 40, unicode: 56 },
};

/// Where `_Py_DebugOffsets` of a version states what. All are offsets in bytes.
struct Stated {
    next_interpreter: usize,
    threads: usize,
    next_thread: usize,
    interpreter: usize,
    current_frame: usize,
    native_id: usize,
    previous: usize,
    executable: usize,
    instruction: usize,
    owner: usize,
    filename: usize,
    name: usize,
    qualname: usize,
    linetable: usize,
    first_line: usize,
    bytecode: usize,
    ascii_size: usize,
    /// Bits of `f_executable` that are a tag (`Py_TAG_BITS`).
    code_tag: u64,
}

const STATED_3_13: Stated = Stated {
    next_interpreter: 64,
    threads: 72,
    next_thread: 168,
    interpreter: 176,
    current_frame: 184,
    native_id: 200,
    previous: 232,
    executable: 240,
    instruction: 248,
    owner: 264,
    filename: 280,
    name: 288,
    qualname: 296,
    linetable: 304,
    first_line: 312,
    bytecode: 344,
    ascii_size: 560,
    code_tag: 0,
};

const STATED_3_14: Stated = Stated {
    next_interpreter: 64,
    threads: 72,
    next_thread: 192,
    interpreter: 200,
    current_frame: 208,
    native_id: 224,
    previous: 256,
    executable: 264,
    instruction: 272,
    owner: 288,
    filename: 320,
    name: 328,
    qualname: 336,
    linetable: 344,
    first_line: 352,
    bytecode: 384,
    ascii_size: 640,
    code_tag: 3,
};

/// Where the table says whether the interpreter is built without the lock, and where the first interpreter stands.
const FREE_THREADED: usize = 16;
const INTERPRETERS: usize = 40;
const COOKIE: &[u8; 8] = b"xdebugpy";
/// `_co_firsttraceable` is not stated; the bytecode follows 16 bytes behind it in all four versions.
const TRACEABLE_BEFORE_BYTECODE: u64 = 16;
/// `PyCompactUnicodeObject` is a `PyASCIIObject` and two words.
const UNICODE_BEHIND_ASCII: u64 = 16;

/// Reads what the interpreter states of itself, and believes only what is possible.
fn stated(version: u32, runtime: &[u8], table: &Stated) -> Result<Offsets, Unsupported> {
    let word = |at: usize| runtime.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|word| u64::from_ne_bytes(*word));
    let within = |at: usize, limit: u64| word(at).filter(|value| *value < limit).ok_or(Unsupported::Layout);
    // The table names the version that it was written by: the same as `Py_Version`.
    if runtime.get(..8) != Some(COOKIE) || word(8) != Some(u64::from(version)) {
        return Err(Unsupported::Layout);
    }
    if word(FREE_THREADED) != Some(0) {
        return Err(Unsupported::FreeThreaded);
    }
    // What the program in the kernel copies of a frame has 80 bytes; the interpreter's state has up to
    // some 300 KiB.
    let in_frame =
        |at: usize, size: u64| within(at, 81 - size).ok().filter(|value| value % size == 0).ok_or(Unsupported::Layout).and_then(small);
    let in_code = |at: usize| within(at, 512);
    let filename = in_code(table.filename)?;
    let side_by_side =
        [table.name, table.qualname, table.linetable].iter().zip(1..).all(|(at, place)| word(*at) == Some(filename + 8 * place));
    if !side_by_side {
        return Err(Unsupported::Layout);
    }
    let bytecode = in_code(table.bytecode)?;
    let ascii = within(table.ascii_size, 128)?;
    Ok(Offsets {
        frame: FrameLayout {
            top: within(table.current_frame, 4096).and_then(small)?,
            through: None,
            code: in_frame(table.executable, 8)?,
            previous: in_frame(table.previous, 8)?,
            instruction: in_frame(table.instruction, 8)?,
            owner: in_frame(table.owner, 2)?,
            code_tag: table.code_tag,
            names: small(filename)?,
        },
        // FRAME_OWNED_BY_CSTACK in 3.13, FRAME_OWNED_BY_INTERPRETER and above in 3.14.
        owner: OwnerRule::From(3),
        threads: ThreadLayout {
            interpreters: within(INTERPRETERS, 1 << 16)?,
            next_interpreter: within(table.next_interpreter, 1 << 20)?,
            threads: within(table.threads, 1 << 20)?,
            next_thread: within(table.next_thread, 4096)?,
            interpreter: within(table.interpreter, 4096)?,
            native_id: within(table.native_id, 4096)?,
        },
        code: CodeLayout {
            names: filename,
            first_line: in_code(table.first_line)?,
            first_traceable: bytecode.checked_sub(TRACEABLE_BEFORE_BYTECODE).ok_or(Unsupported::Layout)?,
            bytecode,
            ascii,
            unicode: ascii + UNICODE_BEHIND_ASCII,
        },
    })
}

fn small(value: u64) -> Result<u16, Unsupported> {
    u16::try_from(value).map_err(|_| Unsupported::Layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head of `_PyRuntime` of 3.14 that states what a real one of 3.14.10 does.
    fn head() -> Vec<u8> {
        let t = &STATED_3_14;
        let mut head = vec![0; RUNTIME_HEAD];
        let values = [
            (8, 0x030e_0af0),
            (INTERPRETERS, 808),
            (t.next_interpreter, 7272),
            (t.threads, 7344),
            (t.next_thread, 8),
            (t.interpreter, 16),
            (t.current_frame, 72),
            (t.native_id, 160),
            (t.previous, 8),
            (t.executable, 0),
            (t.instruction, 56),
            (t.owner, 74),
            (t.filename, 112),
            (t.name, 120),
            (t.qualname, 128),
            (t.linetable, 136),
            (t.first_line, 68),
            (t.bytecode, 208),
            (t.ascii_size, 40),
        ];
        head[..8].copy_from_slice(COOKIE);
        values.iter().for_each(|(at, value)| set(&mut head, *at, *value));
        head
    }

    fn set(head: &mut [u8], at: usize, value: u64) {
        head[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    /// What an interpreter states is taken, and what its version means by it.
    #[test]
    fn takes_what_is_stated() {
        let offsets = Offsets::of(0x030e_0af0, &head()).unwrap();
        let frame = FrameLayout { top: 72, through: None, code: 0, previous: 8, instruction: 56, owner: 74, code_tag: 3, names: 112 };
        assert_eq!(offsets.frame, frame);
        assert_eq!((offsets.code.first_traceable, offsets.code.unicode, offsets.owner), (192, 56, OwnerRule::From(3)));
        assert_eq!(offsets.threads.next_interpreter, 7272);
    }

    /// Each reason not to read an interpreter is told from the others.
    #[test]
    fn refuses_with_a_reason() {
        let version = 0x030e_0af0;
        let changed = |at: usize, value: u64| {
            let mut head = head();
            set(&mut head, at, value);
            Offsets::of(version, &head)
        };
        assert_eq!(changed(FREE_THREADED, 1), Err(Unsupported::FreeThreaded));
        assert_eq!(changed(0, 7), Err(Unsupported::Layout));
        assert_eq!(changed(8, 0x030e_00f0), Err(Unsupported::Layout));
        assert_eq!(changed(STATED_3_14.owner, 79), Err(Unsupported::Layout));
        assert_eq!(changed(STATED_3_14.previous, 12), Err(Unsupported::Layout));
        assert_eq!(changed(STATED_3_14.linetable, 144), Err(Unsupported::Layout));
        assert_eq!(changed(STATED_3_14.bytecode, u64::MAX), Err(Unsupported::Layout));
        assert_eq!(Offsets::of(version, &head()[..300]), Err(Unsupported::Layout));
        assert_eq!(Offsets::of(0x030f_00a1, &head()), Err(Unsupported::Version { version: 0x030f_00a1 }));
        assert!(Offsets::of(0x030a_0df0, &[]).unwrap_err().to_string().contains("Python 3.10"));
    }
}
