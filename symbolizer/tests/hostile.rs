//! Damaged objects and damaged symbol files: an error or an answer, never a panic that escapes, an endless loop or memory
//! without bound.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod programs;

use flamekeeper_object::{ObjectFile, only_debug};
use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{Converter, SymbolFile, Symbolized};

use programs::{directory, run};

const PROGRAM: &str = "
static inline int twice(int value) { return value * 2; }
__attribute__((noinline)) int work(int count) { int sum = 0; for (int i = 0; i < count; i++) sum += twice(sum) ^ i; return sum; }
int main(int argc, char **argv) { return work(argc) + twice(argc); }
";

/// A small program's reduced copy for a test: all of it is headers, symbols and debug information.
fn small(test: &str, flags: &[&str]) -> Vec<u8> {
    let directory = directory(&format!("hostile-{test}{}", flags.concat().replace(['-', '=', ','], "")));
    let (source, output) = (directory.join("program.c"), directory.join("program"));
    std::fs::write(&source, PROGRAM).unwrap();
    run("gcc", &[flags, &["-O2", "-g", "-o", output.to_str().unwrap(), source.to_str().unwrap()]].concat());
    only_debug(&ObjectFile::open(&output).unwrap()).unwrap()
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn damage(&mut self, good: &[u8], round: usize) -> Vec<u8> {
        let mut bad = good.to_vec();
        for _ in 0..=self.below(6) {
            let place = self.below(bad.len());
            bad[place] = [0, 0xff, 0x7f, 0x80, u8::try_from(self.below(256)).unwrap()][self.below(5)];
        }
        if round.is_multiple_of(8) {
            bad.truncate(self.below(bad.len()));
        }
        bad
    }
}

/// Thousands of damaged objects are converted, or refused.
#[test]
fn damaged_objects() {
    let converter = Converter { object_bytes: 1 << 20, section_bytes: 16 << 20 };
    for flags in [&["-gdwarf-5"][..], &["-gdwarf-4", "-gz"], &["-gdwarf-5", "-no-pie"]] {
        let good = small("objects", flags);
        assert!(converter.convert(&good).is_ok());
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (mut converted, mut refused) = (0, 0);
        for round in 0..1500 {
            match converter.convert(&random.damage(&good, round)) {
                Ok(file) => {
                    converted += 1;
                    (0..0x2000).step_by(61).for_each(|address| _ = file.symbolize(Svma(address)));
                }
                Err(_) => refused += 1,
            }
        }
        println!("{flags:?}: {converted} converted, {refused} refused");
        assert!(converted > 100 && refused > 100);
    }
}

/// Damaged symbol files answer, or say that they are damaged; a chain of inlined functions that goes round ends.
#[test]
fn damaged_symbol_files() {
    let good = Converter::default().convert(&small("files", &["-gdwarf-5"])).unwrap();
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut opened = 0;
    for round in 0..5000 {
        let Ok(file) = SymbolFile::from_bytes(random.damage(good.as_bytes(), round)) else { continue };
        opened += 1;
        for address in (0..0x2000).step_by(17) {
            if let Symbolized::Frames(frames) = file.symbolize(Svma(address)) {
                assert!(frames.len() <= 512);
            }
        }
    }
    assert!(opened > 1000, "{opened}");
}
