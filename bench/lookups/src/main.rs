//! Looks addresses up in one object and writes what it finds, as `addr2line -i -f -C` does; `bench/symbols` runs it.

use std::error::Error;
use std::io::{self, BufRead as _, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore, Symbolized};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: lookups COMMAND
  addresses OBJECT COUNT       prints addresses of its code
  convert OBJECT FOLDER        adds the object to the store of symbols in the folder
  ours OBJECT FOLDER           looks the addresses on standard input up there
  blazesym OBJECT              looks them up in the object, where it was built with this feature
  measure PROGRAM [ARGUMENTS]  runs it, and prints its CPU time in microseconds and its greatest resident size in KiB to standard error";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["addresses", object, count] => addresses(Path::new(object), count.parse()?),
        ["convert", object, folder] => convert(Path::new(object), Path::new(folder)),
        ["ours", object, folder] => ours(Path::new(object), Path::new(folder)),
        #[cfg(feature = "blazesym")]
        ["blazesym", object] => blazesym(object),
        ["measure", program, ref rest @ ..] => measure(program, rest),
        _ => Err(USAGE.into()),
    }
}

/// What a child takes. Its greatest resident size begins with that of the process that starts it, so this small one does.
fn measure(program: &str, arguments: &[&str]) -> Outcome<()> {
    let child = Command::new(program).args(arguments).spawn()?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: both point to memory of ours, of the type that wait4(2) writes; the child is ours, and nobody else waits for it.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    if ended != pid || status != 0 {
        return Err(format!("{program} failed with status {status:#x}").into());
    }
    // SAFETY: zeroes are a value of this type, and wait4 succeeded.
    let usage = unsafe { usage.assume_init() };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    eprintln!("{} {}", micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss);
    Ok(())
}

/// Addresses anywhere in the code, the same ones each time.
fn addresses(object: &Path, count: usize) -> Outcome<()> {
    let object = ObjectFile::open(object)?;
    let code = object.segments().iter().find(|segment| segment.executable).ok_or("the object has no code")?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut state = 1_u64;
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(out, "{:#x}", code.svma.0 + (state >> 20) % code.memory_size)?;
    }
    Ok(out.flush()?)
}

/// The addresses on standard input.
fn asked() -> Outcome<Vec<u64>> {
    let mut addresses = Vec::new();
    for line in io::stdin().lock().lines() {
        addresses.push(u64::from_str_radix(line?.trim_start_matches("0x"), 16)?);
    }
    Ok(addresses)
}

fn convert(object: &Path, folder: &Path) -> Outcome<()> {
    let (store, elf) = (SymbolStore::open(folder, SymbolLimits::default())?, std::fs::read(object)?);
    store.add(ObjectFile::open(object)?.identity(), &elf)?;
    Ok(())
}

fn ours(object: &Path, folder: &Path) -> Outcome<()> {
    let (store, object) = (SymbolStore::open(folder, SymbolLimits::default())?, ObjectFile::open(object)?);
    let mut out = BufWriter::new(io::stdout().lock());
    for address in asked()? {
        match store.symbolize(object.identity(), Svma(address)) {
            Symbolized::Frames(frames) => {
                for frame in frames.iter() {
                    writeln!(out, "{}\n{}:{}", frame.function, frame.file, frame.line)?;
                }
            }
            Symbolized::Unknown(_) => writeln!(out, "??\n??:0")?,
        }
    }
    Ok(out.flush()?)
}

/// One address at a time, as a profiler asks for what it has not seen.
#[cfg(feature = "blazesym")]
fn blazesym(object: &str) -> Outcome<()> {
    use blazesym::symbolize::source::{Elf, Source};
    use blazesym::symbolize::{CodeInfo, Input, Symbolizer};

    let place = |out: &mut dyn Write, code: Option<&CodeInfo<'_>>| match code {
        Some(code) => writeln!(out, "{}:{}", code.to_path().display(), code.line.unwrap_or(0)),
        None => writeln!(out, "??:0"),
    };
    let symbolizer = Symbolizer::builder().enable_auto_reload(false).build();
    let source = Source::Elf(Elf::new(object));
    let mut out = BufWriter::new(io::stdout().lock());
    for address in asked()? {
        let found = symbolizer.symbolize_single(&source, Input::VirtOffset(address))?;
        let Some(symbol) = found.as_sym() else {
            writeln!(out, "??\n??:0")?;
            continue;
        };
        // Each function with the line that it is at: that of the function itself stands at the call of the one inlined into it.
        for inlined in symbol.inlined.iter().rev() {
            writeln!(out, "{}", inlined.name)?;
            place(&mut out, inlined.code_info.as_ref())?;
        }
        writeln!(out, "{}", symbol.name)?;
        place(&mut out, symbol.code_info.as_deref())?;
    }
    Ok(out.flush()?)
}
