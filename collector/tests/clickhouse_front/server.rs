//! How a database of the front is reached, by the store.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flamekeeper_collector::store::ClickHouseServer;
use flamekeeper_transport::Credentials;

use crate::clickhouse_front::Front;

/// A database that no other test of the program has.
pub(crate) fn server(front: &Front) -> ClickHouseServer {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    ClickHouseServer {
        url: front.url(),
        credentials: Credentials::default(),
        database: format!("flamekeeper_{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
        user: "default".to_owned(),
        password: String::new(),
        query_time: Duration::from_secs(120),
        query_memory: 4 << 30,
    }
}
