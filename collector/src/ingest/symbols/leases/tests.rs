use super::*;

const PART: u64 = MAX_PART as u64;

fn limits() -> LeaseLimits {
    LeaseLimits { per_agent: 2, leases: 4, begun: 2, bytes: 10 * PART }
}

fn id(number: u8) -> BuildId {
    format!("gnu:{number:02x}").parse().unwrap()
}

fn upload(agent: &str, source: SymbolSource, total: u64) -> Upload {
    Upload { agent: agent.parse().unwrap(), source, total }
}

fn debug(agent: &str, total: u64) -> Upload {
    upload(agent, SymbolSource::DebugInfo, total)
}

fn token(number: u128) -> Token {
    Token::from_bits(number)
}

fn send(token: Token, received: u64) -> (Grant, Option<Token>) {
    (Grant::Send { token, received }, None)
}

/// One host sends, another waits; the first is told where it stopped, and when it is gone the other begins.
#[test]
fn one_at_a_time() {
    let (mut leases, start) = (Leases::new(limits()), Instant::now());
    let ours = debug("a", 3 * PART);
    assert_eq!(leases.offer(&id(1), ours.clone(), token(1), start), send(token(1), 0));
    assert_eq!(leases.offer(&id(1), debug("b", 3 * PART), token(2), start), (Grant::Later, None));
    let claim = leases.claim(&id(1), &token(1), 0, PART, start).unwrap();
    assert_eq!((claim.first, claim.last), (true, false));
    // While it is written, nobody else and no second part.
    assert_eq!(leases.claim(&id(1), &token(1), 0, PART, start), Err(Refusal::Busy));
    assert_eq!(leases.offer(&id(1), ours.clone(), token(3), start), (Grant::Later, None));
    leases.written(&id(1), &token(1), PART, start + LEASE / 2);
    assert_eq!(leases.offer(&id(1), ours.clone(), token(3), start + LEASE), send(token(1), PART));
    let late = start + 2 * LEASE;
    assert_eq!(leases.claim(&id(1), &token(1), PART, PART, late), Err(Refusal::Gone));
    assert_eq!(leases.expire(late), [token(1)]);
    assert_eq!(leases.offer(&id(1), debug("b", 3 * PART), token(4), late), send(token(4), 0));
    assert_eq!(leases.claim(&id(1), &token(1), PART, PART, late), Err(Refusal::Gone));
}

/// Parts out of order, beyond the end, too short, or of a lease that never was are refused and change nothing.
#[test]
fn refuses_wrong_parts() {
    let (mut leases, now) = (Leases::new(limits()), Instant::now());
    leases.offer(&id(1), debug("a", 2 * PART + 5), token(1), now);
    for (offset, len, refusal) in [
        (PART, PART, Refusal::Due(0)),
        (0, 2 * PART + 6, Refusal::Length),
        (0, u64::MAX, Refusal::Length),
        (0, PART - 1, Refusal::Length),
        (0, 0, Refusal::Length),
    ] {
        assert_eq!(leases.claim(&id(1), &token(1), offset, len, now), Err(refusal), "{offset} {len}");
    }
    assert_eq!(leases.claim(&id(1), &token(9), 0, PART, now), Err(Refusal::Gone));
    assert_eq!(leases.claim(&id(2), &token(1), 0, PART, now), Err(Refusal::Gone));
    for offset in [0, PART] {
        leases.claim(&id(1), &token(1), offset, PART, now).unwrap();
        leases.written(&id(1), &token(1), offset + PART, now);
    }
    assert_eq!(leases.claim(&id(1), &token(1), 2 * PART, 6, now), Err(Refusal::Length));
    assert!(leases.claim(&id(1), &token(1), 2 * PART, 5, now).unwrap().last);
    // It is converted now, for as long as that takes.
    assert!(leases.expire(now + 100 * LEASE).is_empty());
    leases.end(&id(1), &token(1));
    assert_eq!(leases.len(now), 0);
}

/// Leases are bounded for one agent and together, begun uploads in number and bytes; what is beyond waits.
#[test]
fn is_bounded() {
    let (mut leases, now) = (Leases::new(limits()), Instant::now());
    for number in 1..=2 {
        assert_eq!(leases.offer(&id(number), debug("a", 4 * PART), token(number.into()), now), send(token(number.into()), 0));
    }
    assert_eq!(leases.offer(&id(3), debug("a", 1), token(3), now), (Grant::Later, None));
    for (number, agent) in [(3, "b"), (4, "c")] {
        assert_eq!(leases.offer(&id(number), debug(agent, 4 * PART), token(number.into()), now), send(token(number.into()), 0));
    }
    assert_eq!(leases.offer(&id(5), debug("d", 1), token(5), now), (Grant::Later, None));
    for number in 1..=2 {
        leases.claim(&id(number), &token(number.into()), 0, PART, now).unwrap();
        leases.written(&id(number), &token(number.into()), PART, now);
    }
    assert_eq!(leases.claim(&id(3), &token(3), 0, PART, now), Err(Refusal::Busy));
    leases.end(&id(1), &token(1));
    assert!(leases.claim(&id(3), &token(3), 0, PART, now).is_ok());
    // Abandoned ones make room again.
    leases.expire(now + LEASE);
    assert_eq!(leases.offer(&id(5), debug("d", 1), token(5), now + LEASE), send(token(5), 0));
}

/// An agent that has something else now begins anew; what it had sent is thrown away.
#[test]
fn begins_anew_with_a_better_source() {
    let (mut leases, now) = (Leases::new(limits()), Instant::now());
    leases.offer(&id(1), upload("a", SymbolSource::SymbolTable, 2 * PART), token(1), now);
    leases.claim(&id(1), &token(1), 0, PART, now).unwrap();
    leases.written(&id(1), &token(1), PART, now);
    let (grant, ended) = leases.offer(&id(1), debug("a", 2 * PART), token(2), now);
    assert_eq!((grant, ended), (Grant::Send { token: token(2), received: 0 }, Some(token(1))));
}

/// What an earlier collector had begun goes on, unless it does not fit.
#[test]
fn goes_on_after_a_restart() {
    let (mut leases, now) = (Leases::new(limits()), Instant::now());
    assert!(leases.restore(id(1), token(1), debug("a", 3 * PART), PART, now));
    assert!(!leases.restore(id(1), token(2), debug("a", 3 * PART), PART, now));
    assert!(!leases.restore(id(2), token(2), debug("a", PART), PART + 1, now));
    assert_eq!(leases.offer(&id(1), debug("a", 3 * PART), token(3), now), send(token(1), PART));
}

/// Only 32 digits are a token: it names files.
#[test]
fn token_form() {
    assert_eq!(Token::parse(token(255).as_str()), Some(token(255)));
    for bad in ["", "../../../../../../../../etc/passwd", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcde"] {
        assert_eq!(Token::parse(bad), None, "{bad}");
    }
}
