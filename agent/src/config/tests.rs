use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    args: Args,
}

fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn refusal(text: &str) -> String {
    let (_dir, path) = write(text);
    let error = check_config(&path).unwrap_err().to_string();
    error.replace(path.to_str().unwrap(), "agent.toml")
}

const FULL: &str = r#"
collector = "http://profiles.example:4040/"
token_file = "/etc/flamekeeper/agent.token"
ca = "/etc/flamekeeper/ca.pem"
client_cert = "/etc/flamekeeper/agent.pem"
client_key = "/etc/flamekeeper/agent.key"
host_name = "web-1"
state_dir = "/srv/state"
frequency_hz = 99
window = "5s"
event = "cpu-clock"
stack_bytes = "16KiB"
ring_bytes = "4MiB"
process_labels = ["exe", "thread", "env.TEAM", "k8s.*"]
[spool]
dir = "/srv/spool"
max_bytes = "64MiB"
[symbols]
upload = false
max_object_bytes = "100MiB"
max_bytes_per_second = "2MiB"
[java]
perf_map = true
[memory]
levels = false
page_faults = 1009
[budget]
cpu_percent = 1.5
horizon = "30s"
memory = "64MiB"
[metrics]
listen = "127.0.0.1:4041"
[exclude]
processes = ["backup", "test-*"]
units = ["cron.service"]
slices = ["user-1000.slice"]
users = ["alice", "1001"]
environment = false
[labels]
env = "prod"
"team.name" = "a \"b\" \\ c"
[[scrape]]
url = "https://gate.example:6060/debug/pprof/heap?x=1"
service = "gate"
version = "2.1"
interval = "30s"
token_file = "/etc/flamekeeper/gate.token"
ca = "/etc/flamekeeper/gate-ca.pem"
client_cert = "/etc/flamekeeper/gate.pem"
client_key = "/etc/flamekeeper/gate.key"
max_bytes = "8MiB"
labels = { team = "pay" }
[[scrape]]
url = "http://127.0.0.1:6061/pprof/heap"
service = "cache"
basic_auth_file = "/etc/flamekeeper/cache.login"
"#;

/// Every key arrives, and what is printed reads back as the same.
#[test]
fn every_key_round_trips() {
    let (_dir, path) = write(FULL);
    let config = check_config(&path).unwrap();
    assert_eq!(config.sampling.frequency.hertz(), 99);
    assert_eq!(config.sampling.stack_bytes.bytes(), 16384);
    assert_eq!(config.spool_dir(), Path::new("/srv/spool"));
    let process_labels: Vec<_> = config.process_labels.iter().map(ToString::to_string).collect();
    assert_eq!(process_labels, ["exe", "thread", "env.TEAM", "k8s.*"]);
    assert_eq!(config.labels.get("team.name"), "a \"b\" \\ c");
    let (_dir, printed) = write(&config.to_string());
    assert_eq!(check_config(&printed).unwrap(), config);
    // The list of keys is that of the struct: each key of the full file is known, and there are no others.
    let tree = toml::de::DeTable::parse(FULL).unwrap();
    let mut seen = 0;
    for (name, value) in tree.get_ref() {
        seen += 1;
        if &**name.get_ref() != keys::FREE_TABLE {
            seen += value.get_ref().as_table().map_or(0, |table| table.len());
        }
        // Of tables that there may be several of, each key once.
        let array = value.get_ref().as_array().into_iter().flatten().filter_map(|value| value.get_ref().as_table());
        seen += array.flat_map(|table| table.iter().map(|(name, _)| &**name.get_ref())).collect::<std::collections::BTreeSet<_>>().len();
    }
    assert_eq!(seen, keys::KEYS.len());
}

/// A mistake says file, line, column, key, what was expected and the nearest key.
#[test]
fn mistakes_are_told_by_place() {
    let cases = [
        ("frequency_hz = 19\ncolector = \"x\"\n", "agent.toml:2:1: unknown key \"colector\"; did you mean \"collector\"?"),
        ("[spool]\n  size = \"1GiB\"\n", "agent.toml:2:3: unknown key \"spool.size\"; expected one of dir, max_bytes"),
        ("[spol]\nmax_bytes = \"1GiB\"\n", "agent.toml:1:2: unknown key \"spol\"; did you mean \"spool\"?"),
        (
            "frequency_hz = 5000\n",
            "agent.toml:1:16: the key \"frequency_hz\" expected a whole number of samples a second from 1 to 999, such as 19, not \"5000\"",
        ),
        (
            "window = 10\n",
            "agent.toml:1:10: the key \"window\" expected a time from 1s to 5m with its unit, such as \"10s\" (invalid type: integer `10`, expected a string)",
        ),
        (
            "[symbols]\nupload = \"yes\"\n",
            "agent.toml:2:10: the key \"symbols.upload\" expected true or false (invalid type: string \"yes\", expected a boolean)",
        ),
        ("spool = 3\n", "agent.toml:1:9: the key \"spool\" expected a table [spool] (invalid type: integer `3`, expected struct RawSpool)"),
        ("[labels]\nenv = 3\n", "agent.toml:2:1: the key \"labels.env\" expected a text in quotes, not integer"),
        (
            "[labels]\nservice = \"x\"\n",
            "agent.toml: the label \"service\" cannot be set in [labels]: the agent sets it for each process; choose another name",
        ),
        (
            "process_labels = [\"pid\", \"pod_name\"]\n",
            "agent.toml:1:18: the key \"process_labels\" expected a label of processes: pid, exe, comm, unit, slice, container, pod, thread, env.NAME for an environment variable, or a resource attribute such as \"deployment.environment.name\" or \"k8s.*\", not \"pod_name\"",
        ),
        (
            "[labels]\nthread = \"x\"\n",
            "agent.toml: the label \"thread\" cannot be set in [labels]: the agent sets it for each process; choose another name",
        ),
        (
            "[[scrape]]\nurl = \"http://127.0.0.1:6060\"\nservice = \"x\"\n",
            "agent.toml:2:7: the key \"scrape.url\" expected the address of a heap profile, such as \"http://127.0.0.1:6060/debug/pprof/heap\", not \"http://127.0.0.1:6060\"",
        ),
        (
            "[[scrape]]\nadress = \"x\"\n",
            "agent.toml:2:1: unknown key \"scrape.adress\"; expected one of url, service, version, interval, token_file, basic_auth_file, ca, client_cert, client_key, max_bytes, labels",
        ),
        (
            "[[scrape]]\nurl = \"http://a/heap\"\n",
            "agent.toml: [[scrape]] of http://a/heap: service is missing: the name of the service that it is the heap of",
        ),
        ("state_dir = \"x\"\n", "agent.toml: state_dir must be an absolute path, not \"x\""),
    ];
    for (text, want) in cases {
        assert_eq!(refusal(text), want);
    }
    assert!(refusal("collector = \n").starts_with("agent.toml:1:13: this is not valid TOML: "), "{}", refusal("collector = \n"));
    assert!(refusal("client_cert = \"/c\"\n").contains("client_cert and client_key belong together"));
    let both = "process_labels = [\"env.TEAM\"]\n[exclude]\nenvironment = true\n";
    assert!(refusal(both).contains("process_labels names env.TEAM, and exclude.environment = true"), "{}", refusal(both));
    let error = check_config(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
    assert!(error.starts_with("the configuration file /nowhere/agent.toml could not be read"), "{error}");
}

/// Flags beat the file key by key, labels add up.
#[test]
fn flags_beat_the_file() {
    let (_dir, path) = write(FULL);
    let flags = ["agent", "--config", path.to_str().unwrap(), "--frequency-hz", "49", "--label", "env=test", "--label", "rack=7"];
    let config = Flags::try_parse_from(flags).unwrap().args.load().unwrap();
    assert_eq!(config.sampling.frequency.hertz(), 49);
    assert_eq!(config.sampling.window.to_string(), "5s");
    assert_eq!((config.labels.get("env"), config.labels.get("rack")), ("test", "7"));
    let flags = ["agent", "--config", path.to_str().unwrap(), "--process-labels", "pid,env.TEAM"];
    let config = Flags::try_parse_from(flags).unwrap().args.load().unwrap();
    assert_eq!(config.process_labels, ["pid", "env.TEAM"].into_iter().map(|text| text.parse().unwrap()).collect());
    let error = Flags::try_parse_from(["agent", "--window", "10"]).unwrap_err().to_string();
    assert!(error.contains("--window") && error.contains("expected a time from 1s to 5m"), "{error}");
}

/// Odd bytes in a file are an error with a place, never a panic.
#[test]
fn hostile_files() {
    let texts = ["\u{feff}é = 1", "é = \"ü", "[[spool]]\n", "[labels]\na.b.c = 1", "collector.x = 1", "\0", "a=[[[[[[[[", "labels = [1]"];
    for text in texts {
        assert!(refusal(text).starts_with("agent.toml"), "{text}");
    }
    let nested = format!("a = {}", "[".repeat(100_000));
    assert!(refusal(&nested).starts_with("agent.toml"));
}

/// The file that is installed says the defaults: as it is, and with every commented key switched on.
#[test]
fn installed_file() {
    let installed = include_str!("../../../systemd/agent.toml");
    let (_dir, path) = write(installed);
    assert_eq!(check_config(&path).unwrap(), Config::default());
    let is_key = |line: &str| line.starts_with('#') && line[1..].starts_with(|letter: char| letter.is_ascii_lowercase());
    let all: Vec<_> = installed.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
    let (_dir, path) = write(&all.join("\n"));
    let config = check_config(&path).unwrap();
    let examples = Config {
        credentials: Credentials::default(),
        host_name: None,
        budget: BudgetConfig { cpu: None, ..config.budget },
        metrics: MetricsConfig { listen: None },
        exclude: Exclude::default(),
        labels: Labels::new(),
        sampling: SamplingConfig { ring_bytes: None, ..config.sampling },
        spool: SpoolConfig { dir: None, ..config.spool.clone() },
        ..config.clone()
    };
    assert_eq!(examples, Config::default());
    assert_eq!(config.spool_dir(), Config::default().spool_dir());
    assert_eq!(config.labels.get("env"), "prod");
}
