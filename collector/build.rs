//! Embeds the built page: every file of `ui/dist`, compressed, with its type and an ETag. Runs no npm.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let page = manifest.join("../ui/dist");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed={}", page.display());
    println!("cargo::rerun-if-changed=build.rs");
    if !page.join("index.html").is_file() {
        println!("cargo::error=the web page is not built: run `./dev ui` (it needs node and npm), then build again");
        return;
    }
    if let Err(error) = embed(&page, &out) {
        println!("cargo::error=the web page cannot be embedded: {error}");
        #[allow(clippy::exit)] // A build script has no other way to fail with words.
        process::exit(1);
    }
}

fn embed(page: &Path, out: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    collect(page, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let content = fs::read(file)?;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&content)?;
        let packed = out.join(format!("page{number}.gz"));
        fs::write(&packed, encoder.finish()?)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        let path = file.strip_prefix(page).unwrap_or(file).display().to_string();
        let etag = format!("\"{:016x}\"", hasher.finish());
        // Writing to a String cannot fail.
        _ = writeln!(table, "Asset {{ path: {path:?}, etag: {etag:?}, gzip: include_bytes!({packed:?}) }},");
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
