//! Names of kernel functions, asked of the kernel one by one.
//!
//! `/proc/kallsyms` has all of them, which take the kernel 45 ms of CPU time to print and megabytes to keep, for the few hundred that
//! samples meet. A BPF program of ten instructions prints the name of one address (`%pS` of `bpf_snprintf`, Linux 5.13) and is run here
//! and now (`BPF_PROG_TEST_RUN`): 2 µs. It also knows modules that were loaded a moment ago, and needs `CAP_BPF` and `CAP_PERFMON`
//! where the file needs `CAP_SYSLOG`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use flamekeeper_profile::Avma;
use flamekeeper_symbolizer::kernel::{KernelSymbol, LONGEST_FUNCTION};

use crate::bpf::asm::{AssembleError, Assembler, Helper, Op, Reg, Width};
use crate::bpf::sys::{self as bpf, Map, MapKind, ProgramKind};

/// `function+0xoffset/0xsize`, and `[module]` behind it; an address without function is printed as a number.
const FORMAT: &[u8; 8] = b"%pS\0\0\0\0\0";
/// Room for what is printed: names have up to 511 bytes (`KSYM_NAME_LEN`), modules 55 (`MODULE_NAME_LEN`).
const TEXT_SIZE: u16 = 1024;
/// A kernel that knows no names of its functions has no such file.
const KALLSYMS: &str = "/proc/kallsyms";

/// The program, and where it prints to.
#[derive(Debug)]
pub(crate) struct Asking {
    program: OwnedFd,
    printed: Map,
    text: Box<[u8]>,
    /// Bytes of `text` that the last answer takes.
    length: usize,
}

impl Asking {
    /// Loads the program.
    ///
    /// # Errors
    /// Where this kernel does not have it, or this process may not.
    pub(crate) fn new() -> io::Result<Self> {
        if !Path::new(KALLSYMS).exists() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel was built without CONFIG_KALLSYMS"));
        }
        let format = Map::constant(FORMAT)?;
        let printed = Map::create(MapKind::Array, 4, u32::from(TEXT_SIZE), 1)?;
        let code = assemble(&format, &printed).map_err(io::Error::other)?;
        let program = bpf::load(ProgramKind::RawTracepoint, &code, "flamekeeper_sym")?;
        Ok(Self { program, printed, text: vec![0; usize::from(TEXT_SIZE)].into(), length: 0 })
    }

    /// Asks for the function that an address lies in; [`Self::answer`] has it then.
    pub(crate) fn ask(&mut self, address: Avma) -> io::Result<()> {
        self.length = 0;
        // With the zero at the end, as if there had been room for all.
        let printed = usize::try_from(bpf::run(&self.program, address.0)?).unwrap_or(usize::MAX);
        if !(1..=self.text.len()).contains(&printed) {
            return Err(io::Error::other(format!("bpf_snprintf returned {}", printed.cast_signed())));
        }
        self.printed.get(&[0; 4], &mut self.text)?;
        self.length = printed - 1;
        Ok(())
    }

    /// The function that was last asked for; none where the address lies in none.
    pub(crate) fn answer(&self) -> Option<KernelSymbol<'_>> {
        parse(std::str::from_utf8(self.text.get(..self.length)?).ok()?)
    }
}

/// Prints the name of the address that the program is run with.
fn assemble(format: &Map, printed: &Map) -> Result<Vec<u64>, AssembleError> {
    let mut code = Assembler::new();
    code.load(Width::Double, Reg::R2, Reg::R1, 0);
    code.store(Width::Double, Reg::R10, -8, Reg::R2);
    code.load_value_address(Reg::R1, printed.raw());
    code.alu(Op::Move, Reg::R2, i32::from(TEXT_SIZE));
    code.load_value_address(Reg::R3, format.raw());
    code.alu_reg(Op::Move, Reg::R4, Reg::R10);
    code.alu(Op::Add, Reg::R4, -8);
    code.alu(Op::Move, Reg::R5, 8);
    code.call(Helper::Print);
    code.exit();
    code.finish()
}

/// Takes apart what was printed.
fn parse(text: &str) -> Option<KernelSymbol<'_>> {
    let (name, place) = text.split_once('+')?;
    let (offset, rest) = place.strip_prefix("0x")?.split_once('/')?;
    if name.is_empty() || u64::from_str_radix(offset, 16).ok()? >= LONGEST_FUNCTION {
        return None;
    }
    // What stands before a function for others to patch is its own (`CONFIG_CALL_PADDING`).
    let name = name.strip_prefix("__pfx_").unwrap_or(name);
    let module = rest.split_once(" [").and_then(|(_, module)| module.strip_suffix(']'));
    Some(KernelSymbol { name, module: module.or_else(|| is_program(name).then_some("bpf")) })
}

/// Whether this is code that was made of a BPF program, which `/proc/kallsyms` states as of the module `bpf`:
/// `bpf_prog_` and the 16 digits of its tag, or `bpf_trampoline_` and a number.
fn is_program(name: &str) -> bool {
    let tag = name.strip_prefix("bpf_prog_").and_then(|rest| rest.get(..16));
    let number = name.strip_prefix("bpf_trampoline_").filter(|rest| !rest.is_empty());
    tag.is_some_and(|tag| tag.bytes().all(|digit| digit.is_ascii_hexdigit()))
        || number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use flamekeeper_symbolizer::kernel::KernelSymbols;

    use super::*;

    fn symbol<'a>(name: &'a str, module: Option<&'a str>) -> Option<KernelSymbol<'a>> {
        Some(KernelSymbol { name, module })
    }

    /// Functions, those of modules and of BPF, and what is none.
    #[test]
    fn takes_answers_apart() {
        assert_eq!(parse("vfs_read+0x10/0x320"), symbol("vfs_read", None));
        assert_eq!(parse("__pfx_vfs_read+0x5/0x10"), symbol("vfs_read", None));
        assert_eq!(parse("ext4_map_blocks+0x0/0x5a0 [ext4]"), symbol("ext4_map_blocks", Some("ext4")));
        assert_eq!(parse("bpf_prog_6deef7357e7b4530_sd_fw+0x4/0x40"), symbol("bpf_prog_6deef7357e7b4530_sd_fw", Some("bpf")));
        assert_eq!(parse("bpf_prog_6deef7357e7b4530+0x4/0x40 [bpf]"), symbol("bpf_prog_6deef7357e7b4530", Some("bpf")));
        assert_eq!(parse("bpf_trampoline_6442500000+0x4/0x40"), symbol("bpf_trampoline_6442500000", Some("bpf")));
        assert_eq!(parse("bpf_prog_select_runtime+0x4/0x40"), symbol("bpf_prog_select_runtime", None));
        assert_eq!(parse("bpf_trampoline_link_prog+0x4/0x40"), symbol("bpf_trampoline_link_prog", None));
        assert_eq!(parse("last_of_all+0x40000/0x80000"), None);
        assert_eq!(parse("0xffffffff00000000"), None);
        for hostile in ["", "+", "+0x1/0x2", "f+", "f+0x", "f+0x/", "f+0xzz/0x1", "f+0x1", "f+0x1 [m]"] {
            assert_eq!(parse(hostile), None, "{hostile}");
        }
    }

    /// The running kernel gives the same names one by one as all at once, at the start, within and at the end of functions.
    #[test]
    fn agrees_with_kallsyms() {
        let (mut asking, symbols) = (Asking::new().unwrap(), KernelSymbols::read().unwrap());
        let text = std::fs::read_to_string(KALLSYMS).unwrap();
        let function = |line: &str| {
            let mut words = line.split_whitespace();
            let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
            let is_function = matches!(kind, "t" | "T" | "w" | "W") && !name.starts_with("__pfx_");
            u64::from_str_radix(address, 16).ok().filter(|_| is_function)
        };
        let addresses: Vec<u64> = text.lines().filter_map(function).collect();
        let (mut asked, mut other) = (0, Vec::new());
        for start in addresses.iter().step_by(37) {
            for address in [*start, start + 5, start + 15].map(Avma) {
                asking.ask(address).unwrap();
                asked += 1;
                let (one, all) = (asking.answer(), symbols.name(address));
                if one != all {
                    other.push(format!("{:#x}: {one:?}, {all:?}", address.0));
                }
            }
        }
        // Names of the same address: the kernel prints one, the file has all of them.
        assert!(asked > 1000 && other.len() * 50 < asked, "{} of {asked} differ: {:#?}", other.len(), &other[..other.len().min(20)]);
        asking.ask(Avma(0xffff_ffff_0000_0000)).unwrap();
        assert_eq!(asking.answer(), None);
        asking.ask(Avma(0)).unwrap();
        assert_eq!(asking.answer(), None);
    }
}
