//! Batches as OTLP profiles (`opentelemetry.proto.profiles.v1development`), the wire format of agents and of others.
//!
//! How a [`flamekeeper_profile::Batch`] maps onto the message:
//!
//! | batch | message |
//! |---|---|
//! | labels of a series | attributes of a resource, by the names of the semantic conventions |
//! | series | a profile with one sample type, period and the batch's window |
//! | location | location with the address that the object states (never an address in a process); names that only the host knows as lines |
//! | object | mapping with file name and the attribute `process.executable.build_id.{gnu,go,htlhash}` |
//! | how a stack ends | sample attribute `flamekeeper.stack.end`; absent under our scope it means `root`, elsewhere it is unstated |
//! | ledger | a resource of its own with the scope `flamekeeper.ledger`, one sample a count, on the empty stack |
//! | figures of the agent | samples in the ledger's profile, by the attribute `flamekeeper.agent.figure` |
//!
//! Values are aggregated per stack. A receiver also takes what other senders choose: timestamps instead of values, keys and values as
//! indexes into the string table, process attributes on samples instead of on the resource.

mod attributes;
mod decode;
mod encode;

pub use attributes::label_of;
pub use decode::{DecodeError, decode};
pub use encode::encode;

/// Scope of profiles that a Flamekeeper agent made.
const SCOPE: &str = "flamekeeper";
/// Scope of the ledger.
const LEDGER_SCOPE: &str = "flamekeeper.ledger";
/// Sample attribute: how the stack ends.
const STACK_END: &str = "flamekeeper.stack.end";
/// Sample attribute in the ledger: what is counted.
const LEDGER_ENTRY: &str = "flamekeeper.ledger.entry";
/// Value of [`LEDGER_ENTRY`] for samples taken; any other is a name of [`flamekeeper_profile::Ledger::entries`].
const LEDGER_TAKEN: &str = "taken";
/// Sample attribute beside the ledger: which [`flamekeeper_profile::Figure`] of the agent the value is.
const AGENT_FIGURE: &str = "flamekeeper.agent.figure";
/// Location attribute: what runs the code.
const FRAME_TYPE: &str = "profile.frame.type";

#[cfg(test)]
mod tests;
