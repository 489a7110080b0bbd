//! Links the library against nothing: what it needs of the C library is found when it is loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-nostdlib");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libflamekeeper_heap.so");
}
