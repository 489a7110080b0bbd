//! Who asks.

use std::net::SocketAddr;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use flamekeeper_transport::{Scope, Scopes};

use super::session::COOKIE_NAME;
use super::{Gate, Refusal};

/// Somebody who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name of the token; of who comes by way of a proxy, what that says.
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// Whether a browser sent it by itself, also for a page that is not ours.
    by_browser: bool,
}

impl Caller {
    /// # Errors
    /// [`Refusal`] where they may not, or where another page than ours asks in their name.
    pub(crate) fn allow(&self, scope: Scope, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.scopes.allow(scope) {
            return Err(Refusal::Scope { name: self.name.clone(), has: self.scopes, needs: scope });
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        if self.by_browser && changes && !is_of_our_page(headers) { Err(Refusal::Origin) } else { Ok(()) }
    }
}

/// Whether a request does not come from another site's page. Browsers tell that by `Sec-Fetch-Site` (Fetch Metadata), those that do
/// not by `Origin`; who tells neither is no browser.
pub(super) fn is_of_our_page(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        return site == b"same-origin" || site == b"none";
    }
    let Some(origin) = text(&ORIGIN) else { return true };
    let authority = [&b"https://"[..], b"http://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme));
    authority.is_some() && authority == text(&HOST)
}

impl Gate {
    /// Who asks: by a token in a header, else in the page's cookie, else as the proxy says.
    ///
    /// # Errors
    /// [`Refusal`] where nobody is named, or a token is not known.
    pub(crate) fn caller(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<Caller, Refusal> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| value.split_once(' '));
            let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
            return self.bearer(token.ok_or(Refusal::Unknown)?, false);
        }
        if let Some(token) = cookie(headers) {
            return self.bearer(token, true);
        }
        self.behind_proxy(headers, peer).ok_or(Refusal::Missing)
    }

    pub(super) fn bearer(&self, token: &str, by_browser: bool) -> Result<Caller, Refusal> {
        let (name, scopes) = self.tokens.find(token).ok_or(Refusal::Unknown)?;
        Ok(Caller { name, scopes, by_browser })
    }

    fn behind_proxy(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<Caller> {
        let name = HeaderName::from_bytes(self.config.trusted_header.as_ref()?.0.as_bytes()).ok()?;
        let peer = peer?.ip();
        if !self.config.trusted_peers.iter().any(|network| network.contains(peer)) {
            return None;
        }
        // Two of them: one may come from before the proxy.
        let mut values = headers.get_all(name).into_iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let name: String = value.to_str().ok()?.trim().chars().filter(|letter| !letter.is_control()).take(64).collect();
        let scopes = self.config.trusted_scopes.unwrap_or_else(|| Scopes::from_iter([Scope::Read]));
        // The proxy knows them by what their browser sends.
        (!name.is_empty()).then_some(Caller { name, scopes, by_browser: true })
    }
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessConfig;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    /// What another site's page sends in somebody's name is told from what ours does.
    #[test]
    fn pages_of_others() {
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://c:1"), ("host", "c:1")], false),
            (&[("origin", "http://c:1"), ("host", "c:1")], true),
            (&[("origin", "http://c:2"), ("host", "c:1")], false),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("origin", "https://c")], false),
        ];
        for (pairs, ours) in cases {
            assert_eq!(is_of_our_page(&headers(pairs)), ours, "{pairs:?}");
        }
    }

    /// A proxy's header is believed from its address only, once, and where it names somebody.
    #[test]
    fn behind_a_proxy() {
        let config = AccessConfig {
            trusted_header: Some("X-User".parse().unwrap()),
            trusted_peers: vec!["10.0.0.0/8".parse().unwrap()],
            ..AccessConfig::default()
        };
        let gate = Gate::open(&config).unwrap();
        let peer = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let named = headers(&[("x-user", "ann")]);
        let ann = gate.caller(&named, peer("10.1.1.1:5")).unwrap();
        assert_eq!((ann.name.as_str(), ann.scopes.to_string().as_str()), ("ann", "read"));
        assert!(matches!(ann.allow(Scope::Admin, &Method::GET, &named), Err(Refusal::Scope { .. })));
        for (headers, peer) in [(&named, peer("11.1.1.1:5")), (&named, None), (&headers(&[("x-user", " ")]), peer("10.1.1.1:5"))] {
            assert_eq!(gate.caller(headers, peer), Err(Refusal::Missing));
        }
        let mut twice = named.clone();
        twice.append("x-user", HeaderValue::from_static("root"));
        assert_eq!(gate.caller(&twice, peer("10.1.1.1:5")), Err(Refusal::Missing));
    }
}
