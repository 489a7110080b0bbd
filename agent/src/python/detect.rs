//! Which object holds a Python interpreter, and where in it what is needed stands.

use std::ops::Range;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::Svma;

/// Size of an entry of a symbol table (`Elf64_Sym`).
const SYMBOL: usize = 24;
/// The function that runs Python code, and what compilers append to the name of a part of it or a copy.
const EVAL: &[u8] = b"_PyEval_EvalFrameDefault";
/// Parts of that function that are kept.
const MAX_PARTS: usize = 16;

/// Addresses in an object that holds an interpreter, as the object states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landmarks {
    /// `_PyRuntime`.
    pub runtime: Svma,
    /// `Py_Version`; none before 3.11.
    pub version: Option<Svma>,
    /// `PyCode_Type`.
    pub code_type: Svma,
    /// The parts of `_PyEval_EvalFrameDefault`.
    pub eval: Vec<Range<u64>>,
}

/// Whether a file of this name may hold an interpreter: `python3.11`, `libpython3.so.1.0`.
#[must_use]
pub fn is_candidate(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("python") || name.starts_with("libpython")
}

/// Finds the landmarks; none where the object is no interpreter. The full symbol table is asked first, since only it knows
/// the parts that the compiler split off.
#[must_use]
pub fn landmarks(object: &ObjectFile) -> Option<Landmarks> {
    [(".symtab", ".strtab"), (".dynsym", ".dynstr")].iter().find_map(|(table, names)| {
        let (table, names) = (object.section(table)?, object.section(names)?);
        in_table(&table.data, &names.data)
    })
}

/// As [`landmarks`], in the bytes of a symbol table and its names.
#[must_use]
pub fn in_table(table: &[u8], names: &[u8]) -> Option<Landmarks> {
    let mut found = Landmarks::default();
    let (mut runtime, mut code_type) = (None, None);
    for symbol in table.as_chunks::<SYMBOL>().0 {
        let [n0, n1, n2, n3, _, _, s0, s1, rest @ ..] = symbol;
        // Undefined here: it is only used.
        if u16::from_le_bytes([*s0, *s1]) == 0 {
            continue;
        }
        let Some(([value, size], _)) = rest.as_chunks::<8>().0.split_first_chunk::<2>() else { continue };
        let (value, size) = (u64::from_le_bytes(*value), u64::from_le_bytes(*size));
        let at = usize::try_from(u32::from_le_bytes([*n0, *n1, *n2, *n3])).unwrap_or(usize::MAX);
        let name = names.get(at..).unwrap_or_default();
        if !matches!(name.first(), Some(b'_' | b'P')) {
            continue;
        }
        match name.split(|byte| *byte == 0).next().unwrap_or_default() {
            b"_PyRuntime" => runtime = Some(Svma(value)),
            b"Py_Version" => found.version = Some(Svma(value)),
            b"PyCode_Type" => code_type = Some(Svma(value)),
            name if is_eval(name) && found.eval.len() < MAX_PARTS => found.eval.push(value..value.checked_add(size)?),
            _ => {}
        }
    }
    found.runtime = runtime?;
    found.code_type = code_type?;
    (!found.eval.is_empty()).then_some(found)
}

fn is_eval(name: &[u8]) -> bool {
    name.strip_prefix(EVAL).is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: u32, value: u64, size: u64, section: u16) -> Vec<u8> {
        [&name.to_le_bytes()[..], &[0, 0], &section.to_le_bytes(), &value.to_le_bytes(), &size.to_le_bytes()].concat()
    }

    /// All parts of the function are found, and nothing else whose name begins alike.
    #[test]
    fn finds_landmarks() {
        let names =
            b"\0_PyRuntime\0PyCode_Type\0_PyEval_EvalFrameDefault.cold\0_PyEval_EvalFrameDefault\0_PyEval_EvalFrameDefaultX\0Py_Version\0";
        let at = |text: &[u8]| u32::try_from(names.windows(text.len()).position(|part| part == text).unwrap()).unwrap();
        let mut table = symbol(0, 0, 0, 0);
        for (name, value) in [(&b"_PyRuntime\0"[..], 1), (b"PyCode_Type\0", 2), (b"Py_Version\0", 3), (b"_PyEval_EvalFrameDefaultX", 9)] {
            table.extend(symbol(at(name), value, 4, 1));
        }
        assert_eq!(in_table(&table, names), None);
        table.extend(symbol(at(b"_PyEval_EvalFrameDefault.cold"), 0x100, 0x10, 1));
        table.extend(symbol(at(b"_PyEval_EvalFrameDefault\0"), 0x200, 0x40, 1));
        let expected = Landmarks { runtime: Svma(1), version: Some(Svma(3)), code_type: Svma(2), eval: vec![0x100..0x110, 0x200..0x240] };
        assert_eq!(in_table(&table, names), Some(expected));
    }

    /// Names and sizes that lead outside the tables are passed over.
    #[test]
    fn hostile_tables_are_bounded() {
        let table = [symbol(u32::MAX, u64::MAX, u64::MAX, 1), symbol(1, u64::MAX, u64::MAX, 1), vec![7; 23]].concat();
        assert_eq!(in_table(&table, b"\0_PyEval_EvalFrameDefault"), None);
        assert_eq!(in_table(&[], &[]), None);
    }

    /// Files are candidates by their own name, not by their folder's.
    #[test]
    fn knows_candidates() {
        assert!(is_candidate("/usr/bin/python3.11") && is_candidate("/x/libpython3.12.so.1.0"));
        assert!(!is_candidate("/usr/lib/python3.11/lib-dynload/_json.so"));
    }
}
