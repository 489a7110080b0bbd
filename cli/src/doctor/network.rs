//! Who answers on the network.

use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flamekeeper_transport::{Client, Credentials};
use http_body_util::Full;

use super::http_date;

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer, as far as it is of interest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// By how many seconds the other's clock is ahead of ours; none where it does not tell.
    pub(super) seconds_ahead: Option<i64>,
}

/// Whether the collector says that it is well.
///
/// # Errors
/// Why there is no answer, as text.
pub(super) fn collector(address: &str, credentials: &Credentials) -> Result<Answer, String> {
    get(&format!("{}/healthz", address.trim_end_matches('/')), credentials)
}

/// What a debuginfod server answers for a build id that nothing has: 404 from one that works. None where it accepts connections and
/// was not asked: this command speaks no TLS.
///
/// # Errors
/// As [`collector`].
pub(super) fn debuginfod(url: &str) -> Result<Option<u16>, String> {
    if url.starts_with("https:") {
        return connect(url).map(|()| None);
    }
    let nobody = "0".repeat(40);
    get(&format!("{}/buildid/{nobody}/debuginfo", url.trim_end_matches('/')), &Credentials::default()).map(|answer| Some(answer.status))
}

/// Whether somebody accepts connections there.
fn connect(url: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    let addresses = url.socket_addrs(|| None).map_err(|error| error.to_string())?;
    let mut last = "its name has no address".to_owned();
    for address in addresses.iter().take(4) {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn get(url: &str, credentials: &Credentials) -> Result<Answer, String> {
    let name = concat!("flamekeeper/", env!("CARGO_PKG_VERSION"));
    let client = Client::new(credentials, url.starts_with("https:"), name, PATIENCE).map_err(|error| error.to_string())?;
    let request = hyper::Request::get(url).body(Full::default()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let answer = runtime.block_on(client.exchange(request, 64 << 10)).map_err(|error| error.to_string())?;
    let date = answer.headers.get(hyper::header::DATE).and_then(|date| http_date::seconds(date.to_str().ok()?));
    let seconds_ahead = date.zip(now()).map(|(theirs, ours)| theirs - ours);
    Ok(Answer { status: answer.status.as_u16(), seconds_ahead })
}

fn now() -> Option<i64> {
    // The clock itself is what is examined.
    #[allow(clippy::disallowed_methods)]
    let now = SystemTime::now();
    i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
