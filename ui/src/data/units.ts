/** Values for reading. Spaces between number and unit do not break. */

const NBSP = "\u00a0";

/** Three significant digits, without trailing exponents. */
export function significant(value: number): string {
  const abs = Math.abs(value);
  if (abs === 0) return "0";
  if (abs >= 100) return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
  if (abs >= 10) return value.toFixed(1);
  if (abs >= 1) return value.toFixed(2);
  return value.toPrecision(2);
}

/** A value in the answer's unit. */
export function formatValue(value: number, unit: string): string {
  if (unit === "nanoseconds") return formatDuration(value);
  if (unit === "bytes") return formatBytes(value);
  return `${significant(value)}${NBSP}${unit}`;
}

function formatDuration(ns: number): string {
  const s = ns / 1e9;
  if (s >= 36000) return `${significant(s / 3600)}${NBSP}h`;
  if (s >= 600) return `${significant(s / 60)}${NBSP}min`;
  if (s >= 1 || ns === 0) return `${significant(s)}${NBSP}s`;
  if (s >= 1e-3) return `${significant(s * 1e3)}${NBSP}ms`;
  return `${significant(s * 1e6)}${NBSP}µs`;
}

/** Bytes in binary units. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let i = 0;
  while (Math.abs(value) >= 1024 && i < units.length - 1) {
    value /= 1024;
    i++;
  }
  return `${i === 0 ? value : significant(value)}${NBSP}${units[i]}`;
}

/** A share (0 to 1) as per cent: two digits after the point below ten. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (!Number.isFinite(percent)) return "–";
  if (percent === 0) return `0${NBSP}%`;
  if (percent < 0.01) return `<0.01${NBSP}%`;
  return `${percent >= 99.95 ? Math.round(percent) : percent >= 10 ? percent.toFixed(1) : percent.toFixed(2)}${NBSP}%`;
}

/** Whether values of a type say how much there was, so that they are no rate: live heaps, and the memory of processes. */
export const isLevel = (type: string): boolean => /^(inuse|memory)_/.test(type);

/** The rate a value has over a window of seconds: cores for CPU time, else the unit per second. */
export function formatRate(value: number, unit: string, seconds: number): string {
  if (!(seconds > 0)) return "–";
  const rate = value / seconds;
  if (unit === "nanoseconds") {
    return `${formatCores(rate / 1e9)}${NBSP}cores`;
  }
  return `${formatValue(rate, unit)}/s`;
}

/** A count with thin spaces between thousands. */
export function formatCount(n: number): string {
  return Math.round(n).toLocaleString("en-US").replaceAll(",", "\u202f");
}

function formatCores(cores: number): string {
  if (cores === 0) return "0";
  if (cores < 0.001) return "<0.001";
  return cores >= 100 ? significant(cores) : cores.toFixed(cores >= 10 ? 1 : 3);
}
