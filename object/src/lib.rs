//! ELF facts that both sides need: build ids, address translation, finding debug files.
