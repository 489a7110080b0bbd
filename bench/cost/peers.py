"""Other profilers, built from the registry outside the project's own packages."""

import os
import shutil
import subprocess

from . import host

# kubernetes and the terminal page of lightswitch would pull in a hundred packages more and change nothing measured here.
CRATES = {
    "lightswitch": ["lightswitch@0.7.0", "--no-default-features", "--features", "libbpf-rs-static"],
    "samply": ["samply@0.13.1"],
}


def install(folder):
    """Builds what is missing, one job at a time: `cargo install --locked` into `folder`."""
    environment = {**os.environ, "CARGO_BUILD_JOBS": "1"}
    libraries = next((path for path in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu") if os.path.isdir(path)), None)
    if libraries:
        environment["LIBBPF_SYS_LIBRARY_PATH"] = libraries
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in CRATES.items():
        if (folder / "bin" / name).exists():
            continue
        host.say(f"building {name} into {folder}: this takes long; the log is {folder / name}.log")
        with open(folder / f"{name}.log", "wb") as log:
            command = ["cargo", "install", "--locked", "--root", folder, "--target-dir", folder / "build", *arguments]
            built = subprocess.run(["nice", "-n", "19", *map(str, command)], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if built.returncode != 0:
            host.say(f"{name} could not be built; the table will say so")


def why_not(folder, name):
    """Why a peer cannot run; none when it can."""
    if (folder / "bin" / name).exists():
        return None
    log = folder / f"{name}.log"
    if not shutil.which("cargo"):
        return "not built: there is no cargo"
    if not log.exists():
        return "not built: `--install-peers` was not given"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error")]
    return f"not built: {lines[0][:200] if lines else f'see {log}'}"
