//! Settings of the machine that a test changes.

/// A file of the kernel that gets its content back at the end, also of a test that panics.
#[derive(Debug)]
pub struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    /// Writes another content, until this is dropped.
    ///
    /// # Panics
    /// When the file cannot be read or written.
    #[must_use]
    pub fn change(path: &'static str, to: &str) -> Self {
        let before = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"));
        std::fs::write(path, to).unwrap_or_else(|error| panic!("{path} cannot be written: {error}"));
        Self { path, before: before.trim().to_owned() }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(self.path, &self.before) {
            eprintln!("{} is not {} again: {error}", self.path, self.before);
        }
    }
}
