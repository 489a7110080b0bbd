use super::*;

const MIB: u64 = 1 << 20;

fn all() -> Facts {
    Facts {
        capabilities: u64::MAX,
        paranoid: Some(2),
        kptr_restrict: Some(1),
        names_functions: false,
        mlock_kb: 516,
        memlock: Some(8 * MIB),
        files: 1 << 19,
        cpus: 2,
        ring_bytes: 4 << 20,
    }
}

fn without(capability: Capability) -> Facts {
    let all = all();
    Facts { capabilities: all.capabilities & !(1 << capability.0), ..all }
}

fn texts(facts: &Facts) -> Vec<String> {
    lacks(facts).into_iter().map(|lack| format!("{}{}", if lack.fatal { "fatal: " } else { "" }, lack.text)).collect()
}

/// Who has all lacks nothing; each missing capability is said by its name, once, and only the right to sample is fatal.
#[test]
fn each_lack_is_said_once() {
    assert_eq!(lacks(&all()), []);
    for (capability, name) in [
        (Capability::SYS_PTRACE, "CAP_SYS_PTRACE is missing"),
        (Capability::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH is missing"),
        (Capability::CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE is missing"),
        (Capability::SYSLOG, "CAP_SYSLOG is missing"),
    ] {
        let texts = texts(&without(capability));
        assert!(matches!(&texts[..], [text] if text.starts_with(name)), "{texts:?}");
    }
    // Whoever may administer the system may load programs into the kernel, too.
    let bpf = without(Capability::BPF);
    assert_eq!(lacks(&bpf), []);
    let texts = texts(&Facts { capabilities: bpf.capabilities & !(1 << Capability::SYS_ADMIN.0), ..bpf });
    assert!(matches!(&texts[..], [text] if text.starts_with("CAP_BPF is missing")), "{texts:?}");
}

/// Without PERFMON there is no sampling, but with SYS_ADMIN (kernels before 5.8), or where everybody may.
#[test]
fn the_right_to_sample() {
    let nobody = Facts { capabilities: 0, ..all() };
    assert!(texts(&nobody)[0].starts_with("fatal: the kernel does not allow to sample the whole host"));
    assert_eq!(texts(&without(Capability::PERFMON)), Vec::<String>::new());
    let open = texts(&Facts { paranoid: Some(-1), ..nobody.clone() });
    assert!(!open.iter().any(|text| text.starts_with("fatal")), "{open:?}");
    let debian = texts(&Facts { paranoid: Some(3), ..all() });
    assert!(matches!(&debian[..], [text] if text.contains("sysctl kernel.perf_event_paranoid=2")), "{debian:?}");
    let debian = texts(&Facts { paranoid: Some(3), ..nobody });
    assert!(debian[0].contains("refuses even CAP_PERFMON"), "{debian:?}");
}

/// Kernel names, where the kernel is not asked for them: hidden from all at 2, from nobody at 0 where sampling is open, else from who
/// has no SYSLOG.
#[test]
fn kernel_names() {
    let hidden = Facts { kptr_restrict: Some(2), ..all() };
    assert!(texts(&hidden)[0].contains("kptr_restrict is 2"));
    let open = Facts { kptr_restrict: Some(0), paranoid: Some(1), ..without(Capability::SYSLOG) };
    assert_eq!(texts(&open), Vec::<String>::new());
    // Whoever may load programs asks the kernel, where it answers.
    let asking = Facts { names_functions: true, ..hidden };
    assert_eq!(texts(&asking), Vec::<String>::new());
    let refused = Facts { capabilities: asking.capabilities & !(1 << Capability::SYS_ADMIN.0 | 1 << Capability::BPF.0), ..asking };
    assert!(texts(&refused).iter().any(|text| text.contains("kptr_restrict is 2")));
}

/// Rings on 2 and on 512 CPUs: what `perf_event_mlock_kb` lets every user map (516 KiB a CPU: a ring of 512 KiB and its control
/// page), and what the limit of locked memory adds.
#[test]
fn ring_memory() {
    let of = |cpus, memlock, mlock_kb| memory::largest_ring(&Facts { cpus, memlock, mlock_kb, ..all() });
    assert_eq!(of(2, Some(0), 516), 512 << 10);
    assert_eq!(of(512, Some(0), 516), 512 << 10);
    assert_eq!(of(2, Some(8 * MIB), 516), 4 << 20);
    assert_eq!(of(512, Some(8 * MIB), 516), 512 << 10);
    assert_eq!(of(512, Some(512 * 4 * MIB), 516), 4 << 20);
    assert_eq!(of(512, Some(0), 515), 256 << 10);
    assert_eq!(of(512, Some(0), 4), 0);
    assert!(of(512, None, 516) >= 64 << 20);
    let many = Facts { cpus: 512, ring_bytes: 512 << 10, memlock: Some(0), ..without(Capability::IPC_LOCK) };
    assert_eq!(texts(&many), Vec::<String>::new(), "the default ring of 512 CPUs fits without any privilege");
    let few = Facts { memlock: Some(0), ..without(Capability::IPC_LOCK) };
    assert!(texts(&few)[0].contains("rings of 512 KiB for each of 2 CPUs instead of 4096 KiB"), "{:?}", texts(&few));
}

/// An event for each of 512 CPUs is a file for each.
#[test]
fn open_files() {
    let of = |files| texts(&Facts { cpus: 512, files, ring_bytes: 512 << 10, ..all() });
    assert_eq!(of(1024), Vec::<String>::new());
    assert!(of(700)[0].starts_with("only 700 files may be open, 768 are needed for 512 CPUs"));
    assert!(of(512)[0].starts_with("fatal: only 512 files"));
}
