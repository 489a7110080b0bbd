/** The file name of a module: `/usr/lib/libc.so.6` is `libc.so.6`. */
export function lastSegment(module: string): string {
  return module.slice(module.lastIndexOf("/") + 1);
}

/** The base kind of a frame: `native (inlined)` is `native`. */
export function baseKind(kind: string): string {
  const at = kind.indexOf(" (");
  return at < 0 ? kind : kind.slice(0, at);
}
