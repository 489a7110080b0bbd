//! What becomes of a child that does not do what it should, whatever it is.

use super::*;

/// A shell in the converter's place. What it is told to do stands before the arguments of a conversion.
fn shell(script: &str, wall: Duration) -> Result<String, ConvertError> {
    let limits = ChildLimits { wall, cpu: Duration::from_secs(7), ..ChildLimits::default() };
    let converter = ChildConverter { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], limits };
    let (object, output) = (memory_file().unwrap(), memory_file().unwrap());
    object.write_all_at(b"the object", 0).unwrap();
    converter.convert(&Converter::default(), &object, &output)?;
    let mut written = vec![0; 1000];
    let read = output.read_at(&mut written, 0).unwrap();
    written.truncate(read);
    Ok(String::from_utf8(written).unwrap())
}

fn failure(script: &str) -> ChildError {
    match shell(script, Duration::from_secs(60)) {
        Err(ConvertError::Child(error)) => error,
        other => panic!("{script}: {other:?}"),
    }
}

/// The object comes in by standard input, the symbol file goes out by standard output, and no environment is inherited.
#[test]
fn passes_files_and_no_environment() {
    let minute = Duration::from_secs(60);
    assert_eq!(shell("cat", minute).unwrap(), "the object");
    assert_eq!(shell("printf \"$HOME$CARGO$0\"", minute).unwrap(), "object=1073741824", "no environment, and the task as arguments");
}

/// One that hangs is ended in time, also where it holds its output back.
#[test]
fn ends_what_hangs() {
    let error = shell("exec sleep 600", Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, ConvertError::Child(ChildError::Wall(0))), "{error:?}");
    assert!(!error.is_final(), "a busy host may be the cause");
}

/// Each way to end has its own name, and is final where the object is the cause.
#[test]
fn names_the_end() {
    assert!(matches!(failure("kill -KILL $$"), ChildError::Killed));
    assert!(matches!(failure("kill -XCPU $$"), ChildError::Cpu(7)));
    assert!(matches!(failure("kill -XFSZ $$"), ChildError::Output(_)));
    assert!(matches!(failure("echo memory allocation of 5 bytes failed >&2; kill -ABRT $$"), ChildError::Memory(_)));
    assert!(matches!(failure("exit 13"), ChildError::Memory(_)));
    let crashed = failure("echo one >&2; echo two >&2; kill -SEGV $$");
    assert_eq!(crashed.to_string(), "the converter crashed on the object: signal 11: two");
    assert_eq!(failure("exit 77").to_string(), "the converter crashed on the object: exit code 77: ");
    assert_eq!(failure("echo no room >&2; exit 12").to_string(), "the converter could not begin: no room");
    for script in ["kill -XCPU $$", "kill -SEGV $$", "exit 13"] {
        assert!(failure(script).is_final(), "{script}");
    }
    assert!(!failure("kill -KILL $$").is_final() && !failure("exit 12").is_final());
    assert!(matches!(shell("exit 10", Duration::from_secs(60)), Err(ConvertError::NoSymbols)));
    assert!(matches!(shell("echo x >&2; exit 11", Duration::from_secs(60)), Err(ConvertError::Unreadable(text)) if text == "x"));
}

/// A message without end is cut, and stops nothing.
#[test]
fn long_messages() {
    let error = shell(
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; exit 11",
        Duration::from_secs(60),
    );
    assert!(matches!(error, Err(ConvertError::Unreadable(text)) if (900..=MESSAGE).contains(&text.len())));
}

/// A program that is not there is an error that names it.
#[test]
fn no_such_program() {
    let converter = ChildConverter { program: "/nonexistent/x".into(), arguments: Vec::new(), limits: ChildLimits::default() };
    let (object, output) = (memory_file().unwrap(), memory_file().unwrap());
    let error = converter.convert(&Converter::default(), &object, &output).unwrap_err();
    assert!(error.to_string().starts_with("cannot start the converter /nonexistent/x: "), "{error}");
    assert!(!error.is_final());
}

/// What the child is told is what was meant, and a missing key is named.
#[test]
fn tasks_round_trip() {
    let limits = ChildLimits { memory_bytes: 1, cpu: Duration::from_secs(2), wall: Duration::from_secs(3), output_bytes: 4, nice: 5 };
    let task = Task { converter: Converter { object_bytes: 6, section_bytes: 7 }, limits, parent: 8 };
    let arguments = task.arguments();
    let read = Task::read(&arguments).unwrap();
    assert_eq!((read.limits, read.parent, read.converter.object_bytes, read.converter.section_bytes), (limits, 8, 6, 7));
    assert_eq!(Task::read(&arguments[1..]).unwrap_err(), "object");
    assert_eq!(Task::read(&[]).unwrap_err(), "object");
}
