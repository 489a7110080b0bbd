//! Records written by hand after `perf_event_open(2)`, whole, cut short and changed.

use super::*;

fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(HEADER_SIZE + body.len()).unwrap();
    [&kind.to_ne_bytes()[..], &misc.to_ne_bytes(), &size.to_ne_bytes(), body].concat()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn task(pid: u32, tid: u32) -> u64 {
    u64::from(pid) | u64::from(tid) << 32
}

fn sample_id(time: u64) -> [u64; 3] {
    [task(7, 8), time, 0]
}

fn user_sample() -> Vec<u8> {
    let mut body = vec![task(7, 8), 1234, 3, 3, CONTEXT_KERNEL, 0xffff_ffff_8100_0000, 0xffff_ffff_8100_0010, 2];
    body.extend((1..=REGS_COUNT as u64).map(|register| register * 0x1000));
    body.extend([16, 0xaaaa, 0xbbbb, 8]);
    record(sys::PERF_RECORD_SAMPLE, 0, &words(&body))
}

/// A sample in user space carries its kernel frames, registers, and as much of the stack as could be copied.
#[test]
fn sample_of_a_user_thread() {
    let bytes = user_sample();
    let Ok(Record::Sample(sample)) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
    assert_eq!((sample.task, sample.time, sample.cpu), (Task { pid: 7, tid: 8 }, 1234, 3));
    let frames: Vec<u64> = sample.kernel_frames().map(|address| address.0).collect();
    assert_eq!(frames, [0xffff_ffff_8100_0000, 0xffff_ffff_8100_0010]);
    assert_eq!((sample.stack, sample.stack_asked), (&0xaaaa_u64.to_ne_bytes()[..], 16));
    assert!(sample.regs.is_some_and(|regs| regs.fp == Avma(0x1000)));
}

/// A kernel thread has ABI 0 and then no registers; the stack's size is 0 and nothing follows it.
#[test]
fn sample_of_a_kernel_thread() {
    let bytes = record(sys::PERF_RECORD_SAMPLE, 0, &words(&[task(2, 2), 99, 0, 2, CONTEXT_KERNEL, 0xffff_ffff_8100_0000, 0, 0]));
    let Ok(Record::Sample(sample)) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
    assert_eq!((sample.regs, sample.stack.len(), sample.kernel_frames().count()), (None, 0, 1));
}

/// What follows the stack is the cgroup, of user and of kernel threads; without it there is none.
#[test]
fn sample_with_a_cgroup() {
    let kernel_thread = record(sys::PERF_RECORD_SAMPLE, 0, &words(&[task(2, 2), 99, 0, 0, 0, 0]));
    for bytes in [user_sample(), kernel_thread] {
        let with = record(sys::PERF_RECORD_SAMPLE, 0, &[&bytes[HEADER_SIZE..], &4711_u64.to_ne_bytes()].concat());
        let cgroup = |bytes: &[u8]| match parse(bytes) {
            Ok(Record::Sample(sample)) => sample.cgroup,
            other => panic!("{other:?}"),
        };
        assert_eq!((cgroup(&with), cgroup(&bytes)), (Some(4711), None));
    }
    let body = [&words(&[4711])[..], b"/system.slice/x.service\0", &words(&sample_id(1))].concat();
    let made = Record::Cgroup { id: 4711, path: b"/system.slice/x.service" };
    assert_eq!(parse(&record(sys::PERF_RECORD_CGROUP, 0, &body)), Ok(made));
}

/// A mapping is read with a build id or with device and inode, and its path ends at the first NUL.
#[test]
fn mapping_with_either_identity() {
    let path = b"/usr/lib/libc.so.6\0\0\0\0\0\0";
    let build = |identity: &[u8], misc| {
        let mut body = words(&[task(7, 7), 0x7f00_0000_0000, 0x1000, 0x2000]);
        body.extend_from_slice(identity);
        body.extend_from_slice(&5_u32.to_ne_bytes());
        body.extend_from_slice(&2_u32.to_ne_bytes());
        body.extend_from_slice(path);
        body.extend(words(&sample_id(55)));
        record(sys::PERF_RECORD_MMAP2, misc, &body)
    };
    let mut id = [0_u8; 24];
    id[0] = 20;
    id[4..].fill(0xab);
    let misc = u16::try_from(sys::PERF_RECORD_MISC_MMAP_BUILD_ID).unwrap();
    let bytes = build(&id, misc);
    let Ok(Record::Mmap(mapping)) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
    assert_eq!((mapping.file, mapping.path), (MappedFile::BuildId(&[0xab; 20]), &b"/usr/lib/libc.so.6"[..]));
    assert!(mapping.executable);
    let inode = [&8_u32.to_ne_bytes()[..], &1_u32.to_ne_bytes(), &42_u64.to_ne_bytes(), &0_u64.to_ne_bytes()].concat();
    let bytes = build(&inode, 0);
    let Ok(Record::Mmap(mapping)) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
    assert_eq!(mapping.file, MappedFile::Inode { major: 8, minor: 1, inode: 42 });
    let header = Header::from_bytes(*bytes.first_chunk().unwrap());
    let time = header.time_offset().unwrap();
    assert_eq!(bytes[time..time + 8], 55_u64.to_ne_bytes());
}

/// The build id's size is foreign: one that is too large yields the 20 bytes that are there.
#[test]
fn oversized_build_id_is_cut() {
    let mut identity = [1_u8; 24];
    identity[0] = 255;
    let misc = u16::try_from(sys::PERF_RECORD_MISC_MMAP_BUILD_ID).unwrap();
    assert_eq!(mapped_file(&identity, misc), MappedFile::BuildId(&[1; 20]));
}

/// Names, births, deaths and losses.
#[test]
fn side_band() {
    let mut body = words(&[task(7, 7)]);
    body.extend_from_slice(b"worker\0\0");
    body.extend(words(&sample_id(1)));
    let exec = u16::try_from(sys::PERF_RECORD_MISC_COMM_EXEC).unwrap();
    let bytes = record(sys::PERF_RECORD_COMM, exec, &body);
    assert_eq!(parse(&bytes), Ok(Record::Comm { task: Task { pid: 7, tid: 7 }, exec: true, name: b"worker" }));
    let mut body = words(&[task(9, 7), task(9, 7), 5]);
    body.extend(words(&sample_id(1)));
    let fork = Record::Fork { child: Task { pid: 9, tid: 9 }, parent: Task { pid: 7, tid: 7 } };
    assert_eq!(parse(&record(sys::PERF_RECORD_FORK, 0, &body)), Ok(fork));
    assert_eq!(parse(&record(sys::PERF_RECORD_EXIT, 0, &body)), Ok(Record::Exit { task: Task { pid: 9, tid: 9 } }));
    for (kind, stopped) in [(sys::PERF_RECORD_THROTTLE, true), (sys::PERF_RECORD_UNTHROTTLE, false)] {
        let body = words(&[99, 1, 1, task(7, 8), 1234, 3]);
        assert_eq!(parse(&record(kind, 0, &body)), Ok(Record::Throttle { stopped, cpu: 3, time: 1234 }));
        assert_eq!(parse(&record(kind, 0, &body[..16])), Err(RecordError::Short { kind }));
    }
    assert_eq!(parse(&record(sys::PERF_RECORD_LOST, 0, &words(&[1, 12]))), Ok(Record::Lost { records: 12 }));
    assert_eq!(parse(&record(sys::PERF_RECORD_LOST_SAMPLES, 0, &words(&[3]))), Ok(Record::Lost { records: 3 }));
    assert_eq!(parse(&record(77, 0, &[])), Ok(Record::Other(77)));
}

/// No prefix of a record, and no record with one byte changed, panics; every cut inside the fields is an error.
#[test]
fn cut_and_changed_records_do_not_panic() {
    let bytes = user_sample();
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length]).is_err(), "cut at {length}");
    }
    for place in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[place] = value;
            if let Ok(Record::Sample(sample)) = parse(&changed) {
                sample.kernel_frames().for_each(drop);
            }
        }
    }
}

/// The output of BPF is told from a sample by its mark, and read within its bounds.
#[test]
fn output_of_bpf() {
    let output = words(&[u64::from(crate::python::MAGIC), 5]);
    let size = u32::try_from(output.len() + 4).unwrap();
    let body = [&words(&[task(7, 8), 1234, 3])[..], &size.to_ne_bytes(), &output, &[0; 4]].concat();
    let bytes = record(sys::PERF_RECORD_SAMPLE, 0, &body);
    let Ok(Record::Interpreter { task, cpu, bytes: found }) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
    assert_eq!((task, cpu, &found[..16]), (Task { pid: 7, tid: 8 }, 3, &output[..]));
    let mut wrong = bytes;
    wrong[32..36].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(parse(&wrong), Err(RecordError::Short { kind: sys::PERF_RECORD_SAMPLE }));
}
