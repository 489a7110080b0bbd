use super::*;

const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 t __pfx_first
ffffffff81000050 t first
ffffffff81000100 T __x64_alias
ffffffff81000100 T alias
ffffffff81000100 t local_alias
ffffffff81000200 D some_data
ffffffff81000300 T last
ffffffff81000400 T _etext
ffffffffc0001000 t module_first\t[mod]
ffffffffc0001080 t module_last\t[mod]
ffffffffc0100000 t bpf_prog_6deef7357e7b4530\t[bpf]
not a line
";

fn parsed() -> KernelSymbols {
    let modules = "mod 4096 0 - Live 0xffffffffc0001000\n";
    parse::parse(KALLSYMS.as_bytes(), Some(modules.as_bytes())).unwrap()
}

/// An address belongs to the function before it; aliases, padding, ends of text and of modules are told apart.
#[test]
fn names_and_bounds() {
    let symbols = parsed();
    let name = |address| symbols.name(Avma(address)).map(|symbol| (symbol.name, symbol.module));
    assert_eq!(name(0xffff_ffff_80ff_ffff), None);
    assert_eq!(name(0xffff_ffff_8100_0000), Some(("_stext", None)));
    assert_eq!(name(0xffff_ffff_8100_0050), Some(("first", None)));
    assert_eq!(name(0xffff_ffff_8100_00ff), Some(("first", None)));
    assert_eq!(name(0xffff_ffff_8100_0180), Some(("alias", None)));
    assert_eq!(name(0xffff_ffff_8100_03ff), Some(("last", None)));
    assert_eq!(name(0xffff_ffff_8100_0400), None);
    assert_eq!(name(0xffff_ffff_c000_1fff), Some(("module_last", Some("mod"))));
    assert_eq!(name(0xffff_ffff_c000_2000), None);
    assert_eq!(name(0xffff_ffff_c010_0010), Some(("bpf_prog_6deef7357e7b4530", Some("bpf"))));
    assert_eq!(name(u64::MAX), None);
}

/// Hidden addresses and a kernel without symbols are two errors, and the first says what to do.
#[test]
fn hidden_and_empty() {
    let hidden = "0000000000000000 T _text\n0000000000000000 t first\n";
    let error = parse::parse(hidden.as_bytes(), None::<&[u8]>).unwrap_err();
    assert!(matches!(error, KernelSymbolsError::Hidden));
    assert!(error.to_string().contains("CAP_SYSLOG") && error.to_string().contains("kptr_restrict"));
    assert!(matches!(parse::parse(&b""[..], None::<&[u8]>), Err(KernelSymbolsError::Empty)));
    assert!(matches!(parse::parse(&b"ffffffff81000000 D data\n"[..], None::<&[u8]>), Err(KernelSymbolsError::Empty)));
}

/// Lines without end and bytes that are no text neither panic nor exhaust memory.
#[test]
fn hostile_text() {
    let mut bytes = vec![b'f'; 1 << 20];
    bytes.extend_from_slice(b"\nffffffff81000000 T \xff\xfe\nffffffff81000000 T ok\n");
    let symbols = parse::parse(&*bytes, None::<&[u8]>).unwrap();
    assert_eq!(symbols.len(), 1);
}

/// The running kernel: each text symbol's own address is named by it or by an alias, and lookups agree with a linear
/// reading of the file.
#[test]
fn running_kernel() {
    let symbols = match KernelSymbols::read() {
        Ok(symbols) => symbols,
        Err(error) => {
            // Without the capability this is the right answer, and the kernel decides.
            assert!(matches!(error, KernelSymbolsError::Hidden | KernelSymbolsError::Unreadable(_)), "{error}");
            return;
        }
    };
    assert!(symbols.len() > 10_000, "{} symbols", symbols.len());
    assert!(symbols.memory() < 64 << 20);
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let find = |name: &str| text.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    let line = find("vfs_read").unwrap();
    let address = u64::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap();
    for offset in [0, 1, 16] {
        assert_eq!(symbols.name(Avma(address + offset)).unwrap(), KernelSymbol { name: "vfs_read", module: None });
    }
}
