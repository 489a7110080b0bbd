//! Python: the interpreter's own frames, in the place of the native frames that run them.
//!
//! A native stack of a Python program shows `_PyEval_EvalFrameDefault` over and over. Which Python function each of these
//! runs stands in the interpreter's structures, and a reader from outside would come too late for it: records are read up to
//! a tenth of a second after the sample. So a BPF program (`program`) copies the chain of frames in the sampling interrupt
//! and puts it into the ring right before the sample ([`frames`]). User space only adds what does not change: names and lines
//! of code objects ([`code`]), proven to be the same ones by a fingerprint taken at the sampled moment.
//!
//! Chain and native stack must agree (`merge`); where they do not, or the chain is missing, the sample is kept as it is and
//! counted as `Caveat::InterpreterFrames`.
//!
//! Versions 3.11 to 3.14 are known ([`offsets`]).

pub mod code;
pub mod detect;
pub mod frames;
mod interpreters;
mod join;
pub mod lines;
mod memory;
mod merge;
pub mod offsets;
mod process;
mod program;
pub(crate) mod tap;
mod tasks;
pub mod threads;

pub(crate) use interpreters::Interpreters;
pub(crate) use join::{Outcome, Unwound};
#[cfg(test)]
pub(crate) use process::Tracked;
pub use program::{FRAME_SIZE, HEAD_SIZE, MAGIC, MAX_FRAMES};
