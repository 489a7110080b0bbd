//! Whether the collector still answers: told to whoever would start it again if it did not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use tower_service::Service as _;

/// A life sign: how often one is wanted, and what takes it.
#[derive(Clone)]
pub struct LifeSign {
    /// The pause between two.
    pub pause: Duration,
    /// Called for each.
    pub tell: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for LifeSign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LifeSign").field("pause", &self.pause).finish_non_exhaustive()
    }
}

impl LifeSign {
    /// Asks the service for a path again and again, by the way that every request goes but for the connection, and tells of each answer,
    /// whatever it says. Connections that strangers hold are no reason to start again; threads that hang, and a store that does, are.
    pub(super) async fn give(self, mut router: Router, path: &'static str) {
        loop {
            tokio::time::sleep(self.pause).await;
            let Ok(request) = Request::get(path).body(Body::empty()) else { return };
            // A router is always ready.
            let answer: Result<_, Infallible> = router.call(request).await;
            if answer.is_ok() {
                (self.tell)();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::http::StatusCode;

    use super::*;

    /// There is a sign for each answer, a refusal too, and none any more once a request hangs.
    #[tokio::test]
    async fn signs_end_where_answers_do() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let handler = move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 2 {
                    std::future::pending::<()>().await;
                }
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let told = Arc::new(AtomicU32::new(0));
        let signs = Arc::clone(&told);
        let tell = Arc::new(move || _ = signs.fetch_add(1, Ordering::Relaxed));
        let sign = LifeSign { pause: Duration::from_millis(1), tell };
        let given = sign.give(Router::new().fallback(handler), "/x");
        assert!(tokio::time::timeout(Duration::from_millis(300), given).await.is_err(), "it gave up");
        assert_eq!((asked.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (3, 2));
    }
}
